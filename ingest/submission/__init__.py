"""Submissions on their way into the queue."""
