"""Labelled purchases of ninety days, in which only the number of purchases within minutes tells fraud."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from tests.support.files import LABEL

DAYS, CARDS = 90, 30
EACH, BURSTS, BURST = 40, 3, 6
"""Usual purchases of a card, its bursts, and the frauds of a burst."""

ROWS = CARDS * (EACH + BURSTS * BURST)
START = datetime(2025, 1, 1)  # noqa: DTZ001  # NumPy's times have no zone


def in_bursts() -> list[dict[str, Any]]:
    """The rows, by card: in no order of time."""
    draw = np.random.default_rng(1)
    rows = []
    for card in range(CARDS):
        hours = draw.uniform(0, DAYS * 24, EACH)
        bursts = [hour + minute / 60 for hour in draw.uniform(0, DAYS * 24, BURSTS) for minute in range(BURST)]
        rows += [_row(card, float(hour), is_fraud=0) for hour in hours]
        rows += [_row(card, float(hour), is_fraud=1) for hour in bursts]
    return [{"transaction_id": f"T{number}", **each} for number, each in enumerate(rows)]


def _row(card: int, hour: float, *, is_fraud: int) -> dict[str, Any]:
    return {
        "at": (START + timedelta(hours=hour)).isoformat() + "Z",
        "card_id": f"C{card}",
        "merchant_id": f"M{int(hour) % 7}",
        "device_id": "",
        "cost": 20 + int(hour) % 30,
        "channel": "pos",
        "items": 1,
        LABEL: is_fraud,
    }
