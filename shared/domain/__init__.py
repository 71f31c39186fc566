"""What a transaction and a decision are: pure, without I/O and without a clock."""
