"""The worker that decides."""
