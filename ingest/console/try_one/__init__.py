"""The page Try one."""
