"""Processes: RQ jobs and heartbeats."""
