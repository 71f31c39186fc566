"""The benchmark behind `riskline bench`: this service and its peers, side by side in one run."""
