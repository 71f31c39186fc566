"""Files of transactions, read as rows and arrays."""
