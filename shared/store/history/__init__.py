"""The history of entities: added and read in one step, in a Redis or in memory."""
