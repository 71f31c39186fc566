"""The explanation of a decision, in a sentence or two for a person who reads many."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from riskline.shared.domain.decision import LOWERS, RAISES
from riskline.shared.domain.policy import Action, Thresholds

MAIN = 2
"""Reasons that a sentence or a row has room for; the others are on the transaction's page."""

DONE = {Action.APPROVE: "Approved", Action.REVIEW: "Sent to review", Action.DECLINE: "Declined"}


class MainReason(NamedTuple):
    """A reason: its text, and whether it raises the risk."""

    text: str
    raises: bool


def main_reasons(decision: Mapping[str, Any], *, with_values: bool) -> list[MainReason]:
    """The reasons that moved the score most; without values the names of the features alone."""
    reasons: Sequence[Mapping[str, Any]] = decision.get("reasons") or ()
    return [
        MainReason(_said(each) if with_values else each["feature"], each["contribution"] > 0) for each in reasons[:MAIN]
    ]


def explanation(decision: Mapping[str, Any], thresholds: Thresholds | None, *, with_values: bool) -> str:
    """One sentence for the action, and one for what moved the score towards it most."""
    action = decision["action"]
    score = f"{DONE.get(action, action)}: score {decision['fraud_probability']:.4f}"
    words = [f"{score}{_against(action, thresholds)}."]
    raises = action != Action.APPROVE
    reasons: Sequence[Mapping[str, Any]] = decision.get("reasons") or ()
    main = [each for each in reasons if (each["contribution"] > 0) == raises][:MAIN]
    if main and with_values:
        words.append(f"Mainly {'; '.join(map(_said, main))}.")
    elif main:
        names = " and ".join(each["feature"] for each in main)
        words.append(f"{'Raised' if raises else 'Lowered'} most by {names}.")
    return " ".join(words)


def _said(reason: Mapping[str, Any]) -> str:
    """The text of a reason without its direction, which an arrow or the sentence around it says."""
    return str(reason.get("text", reason["feature"])).removesuffix(f": {RAISES}").removesuffix(f": {LOWERS}")


def _against(action: str, thresholds: Thresholds | None) -> str:
    if thresholds is None:
        return ""
    decline, review = thresholds.decline, thresholds.review
    if action == Action.DECLINE:
        return f", above {decline:g}"
    if action == Action.REVIEW and review is not None:
        return f", above {review:g} and not above {decline:g}"
    return f", not above {decline if review is None else review:g}"
