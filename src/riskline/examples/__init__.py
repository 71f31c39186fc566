"""Transaction classes to start from: copy one, and change it."""
