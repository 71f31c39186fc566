"""Commands of an operator: callbacks, transactions, keys, scale."""
