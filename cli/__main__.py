"""Lets `python -m riskline.cli` be the `riskline` command: how `riskline up` starts its own children."""

from riskline.cli.entry import main

if __name__ == "__main__":
    main()
