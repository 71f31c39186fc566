"""The peers, each as its own documentation would have it; run by the benchmark's own environment."""
