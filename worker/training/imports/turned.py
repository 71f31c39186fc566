"""The score of the other class: of a model whose fraud class is the first of two."""

from riskline.shared.errors import BundleError
from riskline.shared.model.trees import Isotonic, Linear, Scoring, Sigmoid, Trees


def turned(trees: Trees, scoring: Scoring) -> tuple[Trees, Scoring]:
    """The model that gives 1 - p where this one gives p: what raised its sum lowers it now.

    Raises:
        BundleError: its curve cannot be turned.
    """
    curve = scoring.calibration
    if isinstance(curve, Isotonic):
        raise BundleError(
            "its fraud class is the first of two, and its isotonic curve is of the second: train it with 1 for fraud "
            "and 0 otherwise, or calibrate it by sigmoid"
        )
    linear = scoring.linear
    changes = {
        "initial": -scoring.initial,
        "offset": -scoring.offset,
        "base": -scoring.base,
        "linear": linear and Linear(weights=tuple(-weight for weight in linear.weights), centres=linear.centres),
        # over 1 - score in place of the score
        "calibration": curve and Sigmoid(slope=curve.slope, intercept=-curve.slope - curve.intercept),
    }
    opposite = Trees(trees.feature, trees.threshold, trees.left, trees.right, -trees.value, trees.roots)
    return opposite, scoring.model_copy(update=changes)
