"""The page of what failed."""
