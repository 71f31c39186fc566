"""The worker that delivers callbacks."""
