"""`riskline up`, `api` and `worker`."""
