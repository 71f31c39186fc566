"""Lets `python -m cli` be the `riskline` command: how `riskline up` starts its own children."""

from cli.main import main

if __name__ == "__main__":
    main()
