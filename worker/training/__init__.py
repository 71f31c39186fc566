"""Training, evaluation and import: the only place that imports scikit-learn or unpickles."""
