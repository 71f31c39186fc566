"""`riskline history`: what is kept of the entities of transactions."""
