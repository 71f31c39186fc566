"""The `riskline` command: thin commands over the other rooms."""
