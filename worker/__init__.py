"""The workers: off the request path, started by RQ tickets."""
