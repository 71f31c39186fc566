"""Transactions in Redis: records, the lists that move them, and the feed of decisions."""
