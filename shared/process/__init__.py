"""What a process is to the others: its RQ jobs and its heartbeats."""
