"""A store of several shards behind the interfaces of one."""
