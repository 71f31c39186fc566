"""The tasks of an API process beside its requests, most of them once a second."""
