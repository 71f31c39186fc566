"""Access to the API: keys, the file of keys, and rates."""
