"""The frame of every page of the console: guard, sessions, templates, errors."""
