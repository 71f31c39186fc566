"""Every error answer, and the page of each type."""
