"""`python -m riskline.cli` is the `riskline` command; `riskline up` starts its children by it."""

from riskline.cli.entry import main

if __name__ == "__main__":
    main()
