"""Lets `python -m cli` be the `riskline` command: how `riskline up` starts its own children."""

from cli.entry import main

if __name__ == "__main__":
    main()
