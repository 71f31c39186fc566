"""History: what came before a transaction, of its entities, and the columns that are made of it."""
