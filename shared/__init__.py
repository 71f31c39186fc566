"""The common part of ingest, worker and the command line: the domain, the model, the store."""
