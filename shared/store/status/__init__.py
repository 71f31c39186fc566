"""The store's state: counts, processes, servers, and what must be true of them."""
