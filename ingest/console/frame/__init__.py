"""What every page of the console has: guard, sessions, templates, errors."""
