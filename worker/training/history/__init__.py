"""The past that files and records have: put before the first live transactions, and held against what was served."""
