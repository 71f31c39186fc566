"""What an API process may take of memory, as the size page says: manifests and connections are held to it."""

from riskline.ingest.recording.recorder import MAX_BYTES
from riskline.shared.settings import Settings

ITSELF_BYTES = 125_000_000
"""After load, with a model of 100 trees."""

CONNECTION_BYTES = 12_000
"""Of one that is kept open, beside what was sent by it."""


def body_bytes(sent: int) -> int:
    """What so many bytes of a body take that come little by little: their buffer grows in steps."""
    return sent * 9 // 8


def largest_api_bytes(settings: Settings) -> int:
    """Where every connection is in the middle of the largest body, and the buffer of decisions is full."""
    connections = settings.max_connections * (CONNECTION_BYTES + body_bytes(settings.max_body_bytes))
    return settings.processes * (ITSELF_BYTES + MAX_BYTES + connections)
