"""A small sketch of a set of rows, by which other rows are compared with it without storing any row.

The smallest digests of a set are a fair sample of it, and of any other set the same digests are a sample of the rows
that both have: a bottom-k sketch (Cohen and Kaplan 2007).
"""

import hashlib
from base64 import b64decode, b64encode
from binascii import Error

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.assessment import Rows

KEPT = 256
"""Digests: 2 KB. A file of a tenth of the training rows meets 25 of them."""

BYTES = 8

Digests = npt.NDArray[np.uint64]


def sketched(rows: Rows) -> str:
    """The smallest digests of these rows, as a text for JSON."""
    return b64encode(np.unique(_digests(rows))[:KEPT].astype("<u8").tobytes()).decode()


def share_known(rows: Rows, sketch: object) -> float | None:
    """An estimate of the share of rows that equal a sketched row; None where it is unknown."""
    kept = _kept(sketch)
    if not len(kept):
        return None
    digests = _digests(rows)
    comparable = digests if len(kept) < KEPT else digests[digests <= kept.max()]
    return float(np.isin(comparable, kept).mean()) if len(comparable) else None


def _digests(rows: Rows) -> Digests:
    # -0.0 is 0.0
    content = np.ascontiguousarray(rows + 0.0, dtype="<f8")
    joined = b"".join(hashlib.blake2b(row, digest_size=BYTES).digest() for row in content)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def _kept(sketch: object) -> Digests:
    """The digests in a bundle's sketch, which may be of an older release, or malformed."""
    try:
        found = b64decode(sketch, validate=True) if isinstance(sketch, str) else b""
    except (Error, ValueError):
        found = b""
    return np.frombuffer(found[: len(found) // BYTES * BYTES], dtype="<u8").astype(np.uint64)
