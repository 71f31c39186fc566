"""Models that were trained elsewhere become bundles."""
