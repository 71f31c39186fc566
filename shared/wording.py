"""What several messages say in the same words: numbers of things, and how packages are installed."""


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """So many of something: "1 row", "2,000 rows"."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def no_transactions(rows: int) -> str:
    """So many rows that a transaction class refuses."""
    return counted(rows, "row that is no transaction", "rows that are no transactions")


def install_command(extras: str) -> str:
    """How the packages of these extras are installed: Riskline itself is in no package index."""
    return f"`pip install '.[{extras}]'` in the clone of Riskline, or there `make install` for all of them"
