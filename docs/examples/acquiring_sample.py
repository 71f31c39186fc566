# ruff: noqa: INP001  # an example to copy, no part of a package
"""`python acquiring_sample.py FILE [ROWS]`: writes a labelled CSV file of made-up card payments."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

START = datetime(2026, 1, 1, tzinfo=UTC)
FRAUDS = 0.06


def payment(number: int, chance: np.random.Generator) -> dict[str, Any]:
    """One row; what fraud looks like overlaps with what honest payments do."""
    fraud = bool(chance.random() < FRAUDS)
    bold = fraud and chance.random() < 0.8  # noqa: PLR2004  # the others hide
    average = float(chance.lognormal(3.6, 0.6))
    remote = bool(chance.random() < (0.85 if bold else 0.45))
    home = str(chance.choice(["DE", "FR", "NL", "GB", "US", "ES", "PL"]))
    purchases = int(chance.poisson(6 if bold else 1.5))
    return {
        "transaction_id": f"C{number:07d}",
        "timestamp": (START + timedelta(minutes=9 * number)).isoformat(),
        "amount": round(average * float(chance.lognormal(2.2 if bold else -0.1, 0.7)) + 0.01, 2),
        "currency": chance.choice(["EUR", "GBP", "USD", "CHF"], p=[0.7, 0.1, 0.15, 0.05]),
        "channel": chance.choice(["web", "app", "moto"]) if remote else "pos",
        "entry_mode": chance.choice(["keyed", "stored"] if remote else ["chip", "contactless", "stripe"]),
        "scheme": chance.choice(["visa", "mastercard", "amex", "jcb"], p=[0.5, 0.4, 0.08, 0.02]),
        "issuer_country": home,
        "merchant_country": chance.choice(["DE", "US", "BR"]) if bold else home,
        "merchant_category": chance.choice([5411, 5732, 5812, 5999, 7995]),
        "merchant_age_days": chance.integers(0, 4000),
        "merchant_chargebacks": round(float(chance.beta(1, 40 if bold else 400)), 5),
        "card_age_days": chance.integers(0, 20 if bold else 1500),
        "device_age_days": 0 if bold else chance.integers(0, 900),
        "cards_on_device": 1 + chance.poisson(2 if bold else 0.2),
        "average_amount": round(average, 2),
        "purchases_1h": min(purchases, chance.poisson(3 if bold else 0.2)),
        "purchases_24h": purchases,
        "amount_24h": round(purchases * average, 2),
        "declined_24h": chance.binomial(purchases, 0.4 if bold else 0.03),
        "countries_7d": 1 + chance.poisson(1.5 if bold else 0.1),
        "km_since_last": round(float(chance.exponential(2500 if bold else 12)), 1),
        "minutes_since_last": round(float(chance.exponential(60 if bold else 900)), 1),
        "refunds_30d": chance.poisson(0.3),
        "is_authenticated": int(chance.random() < (0.15 if bold else 0.7)),
        "is_cvc_right": int(chance.random() < (0.8 if bold else 0.99)),
        "is_fraud": int(fraud),
    }


def main(file: str, rows: str = "5000") -> None:
    """Writes the file; the same numbers each time."""
    chance = np.random.default_rng(0)
    made = [payment(number, chance) for number in range(int(rows))]
    with Path(file).open("w", newline="") as sink:
        writer = csv.DictWriter(sink, fieldnames=list(made[0]))
        writer.writeheader()
        writer.writerows(made)


if __name__ == "__main__":
    main(*sys.argv[1:])
