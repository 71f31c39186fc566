"""The history of transactions as the doors use it: observed, looked at, and done without where it is away."""
