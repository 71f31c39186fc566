"""The metrics of a model on labelled rows that it has not seen."""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import DatasetError


def evaluate(labels: np.ndarray, probabilities: Rows, *, thresholds: Thresholds) -> dict[str, float | int | None]:
    """ROC-AUC and average precision, and at the decline threshold precision, recall and the four counts.

    Precision is None where nothing is declined. Rows are declined strictly above the threshold. Of the others those
    above the review threshold, where there is one, are reviewed, and the rest approved.

    Raises:
        DatasetError: the rows have one label only, for which these metrics are undefined.
    """
    if not 0 < labels.sum() < len(labels):
        raise DatasetError(f"of {len(labels):,} rows {int(labels.sum()):,} are fraud: a measure needs both kinds")
    declined = probabilities > thresholds.decline
    reviewed = np.zeros_like(declined) if thresholds.review is None else (probabilities > thresholds.review) & ~declined
    fraud = labels.astype(bool)
    true_positives = int((declined & fraud).sum())
    false_positives = int((declined & ~fraud).sum())
    false_negatives = int((~declined & fraud).sum())
    return {
        "rows": len(labels),
        "frauds": int(fraud.sum()),
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "average_precision": float(average_precision_score(labels, probabilities)),
        "threshold": thresholds.decline,
        "precision": true_positives / int(declined.sum()) if declined.any() else None,
        "recall": true_positives / int(fraud.sum()),
        "true_positives": true_positives,
        "false_positives": false_positives,
        "false_negatives": false_negatives,
        "true_negatives": int((~declined & ~fraud).sum()),
        "reviewed": int(reviewed.sum()),
        "frauds_reviewed": int((reviewed & fraud).sum()),
        "frauds_approved": int((~declined & ~reviewed & fraud).sum()),
    }
