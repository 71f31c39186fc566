"""Who may call the API: keys, the file that holds them, and their rates."""
