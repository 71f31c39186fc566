"""`riskline models`, `train` and `evaluate`."""
