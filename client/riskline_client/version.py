"""The version of the client, which is that of the service that it was made with."""

__version__ = "0.1.0"
