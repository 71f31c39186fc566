"""Formats figures for readers, and sums up a measurement in plain sentences."""

from markupsafe import Markup

from riskline.shared.wording import counted
from riskline.worker.training.evaluation.intervals import Share
from riskline.worker.training.evaluation.measurement import Measurement

NOTHING = "-"
TINY_SHARE, SMALL_SHARE, LARGE_NUMBER = 0.001, 0.1, 100
"""Where the number of digits changes."""

BASES = (1_000, 10_000, 100_000, 1_000_000)
"""The summary speaks of the least of these numbers of transactions of which at least one is declined."""


def percent(value: float | None) -> str:
    """A share in percent, with as many digits as tell small ones apart."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0 %"
    if value < TINY_SHARE:
        return f"{value * 100:.2g} %"
    return f"{value * 100:.{2 if value < SMALL_SHARE else 1}f} %"


def share_words(each: Share) -> Markup:
    """A share and its interval."""
    if each.value is None or each.low is None or each.high is None:
        return Markup.escape(NOTHING)
    interval = f"{percent(each.low)[:-2]} to {percent(each.high)[:-2]}"
    return Markup("{} <small>{}</small>").format(percent(each.value), interval)


def per(each: Share, rows: float) -> Markup:
    """The number of rows that a share is of `rows`, with its interval."""
    low, value, high = (number(float(end or 0) * rows) for end in (each.low, each.value, each.high))
    return Markup("{} <small>{} to {}</small>").format(value, low, high)


def number(value: float) -> str:
    """A number with a readable number of digits."""
    if value >= LARGE_NUMBER:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 or value == 0 else f"{value:.2g}"


def summary(measured: Measurement, *, known: bool) -> list[str]:
    """The conclusions for a reader without statistics, a sentence each."""
    now = measured.now
    rows = now.alerts.of
    base = next((base for base in BASES if now.alerts.count * base >= rows), BASES[-1])

    above, fraud = measured.scored.scores > now.threshold, measured.scored.fraud

    def of_base(each: Share) -> str:
        low, high = (number(float(end or 0) * base) for end in (each.low, each.high))
        return f"{number(each.count / rows * base)} (95 %: {low} to {high})"

    if not now.alerts.count:
        first = [f"Of {rows:,} transactions the model would decline none: no score is above {now.threshold:g}."]
    else:
        frauds, good = (measured.scored.share(above & kind) for kind in (fraud, ~fraud))
        first = [
            f"Of {base:,} transactions like these, the model would decline {of_base(now.alerts)}.",
            f"{of_base(frauds)} of these are fraud, {of_base(good)} are good customers.",
        ]
    recall = now.recall
    caught = (
        f"It stops {recall.count:,} of the {counted(recall.of, 'fraud')} in this file: {percent(recall.value)} "
        f"(95 %: {percent(recall.low)} to {percent(recall.high)}); the other {now.false_negatives:,} get through"
    )
    reviewed = next((each for each in measured.table if "review" in each.why), None)
    if reviewed is not None:
        more = reviewed.true_positives - now.true_positives
        looked = reviewed.alerts.count - now.alerts.count
        caught += f" or are reviewed: {counted(looked, 'review')}, {more:,} of them of frauds"
    warned = ["Don't rely on these figures: see the warning above."] if known else []
    return [*first, f"{caught}.", *warned]
