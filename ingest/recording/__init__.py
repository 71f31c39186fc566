"""The record of what the synchronous door decided."""
