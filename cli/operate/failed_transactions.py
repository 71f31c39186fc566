"""`riskline transactions`: those that failed, and another try for them."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from riskline.cli.change_log import note_change
from riskline.cli.installation import installation_store
from riskline.cli.options import DataOption, JsonOption
from riskline.shared.domain.transaction import MOST_ID_CHARACTERS, TRANSACTION_ID_PATTERN
from riskline.shared.process.jobs import Tickets
from riskline.shared.store.operations import AllAudits, AllFailures

MOST_SHOWN = 1_000_000

ID = re.compile(TRANSACTION_ID_PATTERN)


def failed(
    *,
    data: DataOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST_SHOWN, help="The most that are listed.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the transactions that failed, newest first, each with its reason."""
    with installation_store(data=data) as store:
        failures = AllFailures(store.shards)
        found, count = list(failures.newest(limit)), failures.count()
    for each in found:
        at = datetime.fromtimestamp(each.failed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if as_json:
            typer.echo(json.dumps({"transaction_id": each.transaction_id, "failed_at": at, "error": each.reason}))
        else:
            typer.echo(f"{at}  {each.transaction_id}  {each.reason}")
    if not as_json:
        shown = (
            f"the {len(found)} newest are shown"
            if count > len(found)
            else "`riskline transactions replay --all` tries again"
        )
        typer.echo(f"{count} failed" + (f"; {shown}" if count else ""), err=True)


def replay(
    *,
    transaction_ids: Annotated[
        list[str] | None, typer.Argument(help="The ids of the transactions.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that have failed.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make failed transactions wait for a decision again; exit 1 where one of those named has not failed."""
    if bool(transaction_ids) == every:
        raise typer.BadParameter("name the transactions, or give --all, not both", param_hint="TRANSACTION_IDS")
    not_failed: list[str] = []
    with installation_store(data=data) as store:
        failures = AllFailures(store.shards)
        asked = list(transaction_ids or ())
        ids = failures.ids() if every else [each for each in asked if _is_id(each)]
        not_failed += [each for each in asked if not _is_id(each)]
        done = failures.replay(ids)
        replayed = len(done.replayed)
        not_failed += done.not_failed
        if replayed:
            Tickets(store.tickets).ensure()
    if replayed:
        named = "all" if every else " ".join(done.replayed)
        note_change(data, "failed transactions replayed", number=replayed, ids=named)
    _print_replayed(replayed, [] if every else not_failed, as_json=as_json)


def requeue(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Put undecided transactions in line again that `riskline doctor --audit` has found out of it."""
    with installation_store(data=data) as store:
        audit = AllAudits(store.shards)
        lost = audit.out_of_line()
        if lost:
            audit.put_in_line(lost)
            Tickets(store.tickets).ensure()
    if lost:
        note_change(data, "undecided transactions put in line", number=len(lost), ids=" ".join(sorted(lost)))
    typer.echo(json.dumps({"requeued": sorted(lost)}) if as_json else f"{len(lost)} put in line again")


def _print_replayed(replayed: int, not_failed: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"replayed": replayed, "not_failed": not_failed}))
    else:
        typer.echo(f"{replayed} wait for a decision again")
        for transaction_id in not_failed:
            typer.echo(f"riskline: {transaction_id!r} has not failed, or has expired", err=True)
    if not_failed:
        raise typer.Exit(1)


def _is_id(text: str) -> bool:
    return ID.fullmatch(text) is not None and len(text) <= MOST_ID_CHARACTERS
