"""The limits of a measurement on this file, with the file's own figures."""

import re
from datetime import date
from typing import NamedTuple

import numpy as np
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from riskline.shared.wording import counted
from riskline.worker.training.data.labelled import LabelledRows, Times
from riskline.worker.training.data.simulate import DAYS, START
from riskline.worker.training.evaluation.intervals import FEW_CARDS, Marks, share
from riskline.worker.training.evaluation.measures import ScoredRows

CHARGEBACK_DAYS = 120
"""The time a cardholder may dispute a payment under the card schemes' usual rules."""

RECENT_SHARE = 0.25
SMALL_CHANCE = 0.01
FEW_FRAUDS = 200
SIMULATED_CARD = re.compile(r"C\d{5}")

SELECTED = (
    "A transaction that was declined when it happened never became a fraud or a good purchase. If such rows are "
    "missing here, or are labelled by that decision, the figures describe what the old rules let through, not all that "
    "is asked for."
)
UNTIMED = (
    "The file has no timestamp in every row: nothing here says how many alerts a day brings, how the model does from "
    "day to day, or whether it was trained on these rows."
)
SIMULATED = (
    "These rows look like what the command “riskline data” makes. They come from a simulator that is simpler than any "
    "bank's customers and thieves: the figures say nothing about real payments."
)


class Note(NamedTuple):
    """A caveat, by name."""

    name: str
    text: str


def caveats(scored: ScoredRows, data: LabelledRows, *, today: date) -> list[Note]:
    """The caveats of a measurement."""
    return [
        Note("Declined transactions have no label", SELECTED),
        *_few(scored),
        *_late(scored, data.times, today),
        *_drift(scored, data.times),
        *_cards(scored),
        *_simulated(data),
        *([Note("No times", UNTIMED)] if data.times is None else []),
    ]


def _few(scored: ScoredRows) -> list[Note]:
    if scored.frauds >= FEW_FRAUDS:
        return []
    half = share(scored.frauds // 2, scored.frauds)
    told = (
        f"There are only {scored.frauds:,}. If half of them are above a threshold, its recall may be anything from "
        f"{half.low:.0%} to {half.high:.0%}: compare models by the intervals, not by the figures."
    )
    return [Note("Few frauds", told)]


def _late(scored: ScoredRows, times: Times | None, today: date) -> list[Note]:
    if times is None:
        return []
    told = []
    age = (today - times.max().item().date()).days
    if age < CHARGEBACK_DAYS:
        told.append(
            f"The newest rows are {counted(max(age, 0), 'day')} old. A fraud is known when its cardholder disputes "
            f"it, up to about {CHARGEBACK_DAYS} days later: frauds of the last weeks may still count as good."
        )
    recent = _later(times, 1 - RECENT_SHARE)
    counts = [[int((scored.fraud & part).sum()), int((~scored.fraud & part).sum())] for part in (recent, ~recent)]
    newer, older = (frauds / max(1, frauds + good) for frauds, good in counts)
    if newer < older and fisher_exact(counts, alternative="less").pvalue < SMALL_CHANCE:
        told.append(
            f"The latest quarter of the rows has {newer:.2%} fraud, the earlier ones {older:.2%}: more than chance, as "
            "it looks when labels are still to come."
        )
    return [Note("Labels arrive late", " ".join(told))] if told else []


def _drift(scored: ScoredRows, times: Times | None) -> list[Note]:
    if times is None:
        return []
    told = (
        f"The rows are from {counted(scored.number_of_days or 0, 'day')}. Thieves change what they do; a model is as "
        "good as here only for as long as they and the customers stay the same."
    )
    later = _later(times, 0.5)
    halves = [part for part in (~later, later) if 0 < scored.fraud[part].sum() < part.sum()]
    if len(halves) > 1:
        first, second = (roc_auc_score(scored.fraud[part], scored.scores[part]) for part in halves)
        told += f" ROC-AUC of the earlier half: {first:.4f}, of the later: {second:.4f}."
    return [Note("Times change", told)]


def _later(times: Times, quantile: float) -> Marks:
    """The rows from that quantile of the times on."""
    moments = times.astype(np.int64)
    return np.asarray(moments >= np.quantile(moments, quantile))


def _cards(scored: ScoredRows) -> list[Note]:
    if scored.cards is None:
        return []
    frauds = [card for card, fraud in zip(scored.cards, scored.fraud, strict=True) if fraud and card is not None]
    missing = scored.cards.count(None)
    told = (
        f"{counted(len(frauds), 'fraud')} on {counted(len(set(frauds)), 'card')}. Transactions of one card are alike, "
        "so there is less evidence than the counts say: the intervals here are made by drawing cards, not rows. Which "
        "cards the model was trained on is not kept: on a card that it knows it may do better than on a new one."
    )
    if len(set(frauds)) < FEW_CARDS:
        told += " With so few cards the intervals are too narrow even so."
    if missing:
        told += f" Left out of what is counted by card: {counted(missing, 'row')} without one."
    return [Note("The same cards", told)]


def _simulated(data: LabelledRows) -> list[Note]:
    if data.times is None or data.cards is None:
        return []
    in_window = data.times.min() >= np.datetime64(START) and data.times.max() < np.datetime64(START) + np.timedelta64(
        DAYS, "D"
    )
    if not in_window or not all(card is not None and SIMULATED_CARD.fullmatch(card) for card in data.cards):
        return []
    return [Note("Simulated transactions", SIMULATED)]
