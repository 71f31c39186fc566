"""A transaction that takes the worker a while, so that a fault finds work half done and not only idle workers."""

import time
from typing import Any, Self

from riskline.shared.domain.transaction import Transaction

SCORING_SECONDS = 0.005
"""As of a model much larger than the one of these runs; RQ's own jobs take as long."""


class SlowTransaction(Transaction):
    """As any other for the API, which makes it of JSON; a worker makes it of a record's row."""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Builds it, slowly."""
        time.sleep(SCORING_SECONDS)
        return super().from_row(row)
