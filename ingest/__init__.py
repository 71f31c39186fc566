"""The HTTP service: validates, scores in-process or enqueues."""
