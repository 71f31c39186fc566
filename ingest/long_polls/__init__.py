"""Reads that wait: for one transaction's decision and for the feed."""
