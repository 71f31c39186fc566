"""What a model is on disk, and what turns rows into scores."""
