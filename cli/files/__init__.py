"""`riskline score`."""
