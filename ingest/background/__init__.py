"""What an API process looks at beside its requests, once a second."""
