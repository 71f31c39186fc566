"""Callbacks as they are sent: the event, its URL, its signature and its schedule."""
