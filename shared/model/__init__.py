"""Models on disk, and the engine that scores rows."""
