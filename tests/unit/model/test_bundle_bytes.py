"""Members of trees.npz that were altered below every checksum: refused, or harmless."""

import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import TREES, load_model
from tests.support.hostile import signed
from tests.support.models import small_trees, write_version

ROWS = np.array([[39.08, 5411, 24, 3.5, 0], [4500.0, 5942, 24, 1250.5, 1], [100.0, 1, 18, 50.0, 1]])
HEADER_BYTES = 128


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / write_version(tmp_path).version


def members_of(bundle: Path) -> dict[str, bytearray]:
    with zipfile.ZipFile(bundle / TREES) as archive:
        return {name: bytearray(archive.read(name)) for name in archive.namelist()}


def write_members(bundle: Path, members: dict[str, bytearray]) -> Path:
    with zipfile.ZipFile(bundle / TREES, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(content))
    return signed(bundle)


def npy(header: str, content: bytes = bytes(64)) -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x80\x04N.",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (8,), }", b""),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999999,), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-8,), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 4), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': ((((("),
        npy("{'descr': '<f8', 'fortran_order': False, 1: (8,), }"),
        npy("{'descr': [], 'fortran_order': False, 'shape': (8,)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (8,), }"),
        npy("   {\n  'a\n 2"),
        npy("__import__('os').abort()"),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("name", ["feature.npy", "value.npy"])
def test_a_member_that_is_no_array_is_refused(bundle: Path, name: str, content: bytes) -> None:
    bundle = write_members(bundle, {**members_of(bundle), name: bytearray(content)})

    with pytest.raises(BundleError, match=TREES):
        load_model(bundle)


def test_the_children_of_a_leaf_are_not_looked_at(bundle: Path) -> None:
    expected = load_model(bundle).score(ROWS)
    members = members_of(bundle)
    members["left.npy"][HEADER_BYTES:] = np.array([1, 99, 3, -99, 0, 6, 7, 2**31 - 1], dtype=np.int32).tobytes()

    bundle = write_members(bundle, members)

    assert np.array_equal(load_model(bundle).score(ROWS), expected)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(
        st.tuples(
            st.sampled_from(sorted(asdict(small_trees()))), st.booleans(), st.integers(0, 127), st.integers(1, 255)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_flipped_bytes_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[str, bool, int, int]]
) -> None:
    models_dir = tmp_path_factory.mktemp("models")
    bundle = models_dir / write_version(models_dir).version
    members = members_of(bundle)
    for name, in_header, position, mask in flips:
        content = members[f"{name}.npy"]
        start = 0 if in_header else HEADER_BYTES
        content[start + position % (len(content) - HEADER_BYTES if not in_header else HEADER_BYTES)] ^= mask
    bundle = write_members(bundle, members)

    try:
        model = load_model(bundle)
    except BundleError as error:
        assert f" {TREES} " in str(error)  # noqa: PT017  # either outcome is right
        return
    assert np.isfinite(model.score(ROWS)).all()
