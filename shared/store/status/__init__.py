"""The store's state: counts, processes, servers, and their checks."""
