"""What ingest, worker and the command line have in common: the domain, the model, the store."""
