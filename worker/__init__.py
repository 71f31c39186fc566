"""The scoring worker: off the request path, fed by RQ tickets."""
