"""`riskline doctor`."""
