"""API keys: authentication, scopes and rates."""
