"""Phrases shared by messages: counts of things, and the command that installs packages."""


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """A count with its noun: "1 row", "2,000 rows"."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def no_transactions(rows: int) -> str:
    """A count of rows that a transaction class refuses."""
    return counted(rows, "row that is no transaction", "rows that are no transactions")


def install_command(extras: str) -> str:
    """The command that installs the packages of these extras; Riskline is in no package index."""
    return f"`pip install '.[{extras}]'` in the clone of Riskline, or there `make install` for all of them"
