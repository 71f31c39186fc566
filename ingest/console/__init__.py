"""The operators' console: server-rendered pages below /console."""
