"""Riskline."""
