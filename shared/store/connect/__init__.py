"""Redis found and reached: one server, Sentinel or a Cluster."""
