"""`riskline callbacks`: the state of callbacks, their attempts, and sending them again."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from riskline.cli.change_log import note_change
from riskline.cli.installation import installation_store
from riskline.cli.options import DataOption, JsonOption
from riskline.shared.errors import InstallationError
from riskline.shared.process.jobs import CALLBACKS_QUEUE, Tickets
from riskline.shared.store.callbacks import PausedReceiver
from riskline.shared.store.operations import AllCallbacks
from riskline.shared.webhooks.event import operator_view

MOST_SHOWN = 1_000_000


def list_callbacks(
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    data: DataOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_SHOWN, help="The most of each that are listed.")
    ] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the callbacks that are pending, oldest first, and those that were given up, the last first."""
    with installation_store(data=data) as store:
        callbacks = AllCallbacks(store.shards)
        count_pending, count_dead = callbacks.counts()
        paused = callbacks.paused()
        found = [] if dead else list(_states(callbacks, callbacks.pending(limit)))
        found += _states(callbacks, callbacks.dead(limit))
    for transaction_id, state in found:
        if as_json:
            typer.echo(json.dumps({"transaction_id": transaction_id, **state}))
        else:
            typer.echo(_line(transaction_id, state))
    if not as_json:
        for receiver in paused:
            typer.echo(f"riskline: {_paused(receiver)}", err=True)
        advice = "; `riskline callbacks replay --dead` sends them again" if count_dead else ""
        typer.echo(f"{count_pending} pending, {count_dead} given up{advice}", err=True)


def receivers(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the receivers that are left alone as their attempts fail: how many callbacks wait, and when one is tried."""
    with installation_store(data=data) as store:
        paused = AllCallbacks(store.shards).paused()
    for each in paused:
        shown = {"receiver": each.host, "failures": each.failures, "waiting": each.waiting}
        typer.echo(json.dumps(shown | {"next_attempt_at": _moment(each)}) if as_json else _paused(each))
    if not paused and not as_json:
        typer.echo("no receiver is left alone", err=True)


def show(transaction_id: str, *, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one transaction's callback with each of its attempts."""
    with installation_store(data=data) as store:
        for _, state in _states(AllCallbacks(store.shards), [transaction_id]):
            typer.echo(
                json.dumps({"transaction_id": transaction_id, **state}) if as_json else _page(transaction_id, state)
            )
            return
    raise InstallationError(f"nothing is kept of a callback of {transaction_id!r}: it had none, or it has expired")


def replay(
    *,
    transaction_ids: Annotated[
        list[str] | None, typer.Argument(help="The ids of their transactions.", show_default=False)
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", "--all", help="All that were given up.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send callbacks again, from the first attempt on, whatever became of them; exit 1 where one named is not there."""
    if bool(transaction_ids) == dead:
        raise typer.BadParameter("name the transactions, or give --dead, not both", param_hint="TRANSACTION_IDS")
    with installation_store(data=data) as store:
        callbacks = AllCallbacks(store.shards)
        asked = callbacks.all_dead() if dead else list(dict.fromkeys(transaction_ids or ()))
        done = callbacks.resend(asked)
        if done:
            Tickets(store.tickets, CALLBACKS_QUEUE).ensure()
    if done:
        note_change(data, "callbacks sent again", number=len(done), ids="all dead" if dead else " ".join(done))
    unknown = [] if dead else [each for each in asked if each not in set(done)]
    if as_json:
        typer.echo(json.dumps({"replayed": len(done), "unknown": unknown}))
    else:
        typer.echo(f"{len(done)} {'is' if len(done) == 1 else 'are'} sent again")
        for transaction_id in unknown:
            typer.echo(f"riskline: {transaction_id!r} has no callback, or it has expired", err=True)
    if unknown:
        raise typer.Exit(1)


def _states(callbacks: AllCallbacks, ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((transaction_id, operator_view(kept)) for transaction_id, kept in callbacks.read(ids))


def _line(transaction_id: str, state: Mapping[str, Any]) -> str:
    last = state["attempts"][-1] if state["attempts"] else None
    if state["status"] == "dead":
        outcome = str(state["error"])
    else:
        outcome = f"next attempt {state['next_attempt_at']}" + (f"; last: {attempt_line(last)}" if last else "")
    return f"{state['status']:<8} {transaction_id}  {state['url']}  {outcome}"


def _paused(receiver: PausedReceiver) -> str:
    waiting = f"{receiver.waiting} callback{'s wait' if receiver.waiting != 1 else ' waits'}"
    failed = f"the last {receiver.failures} attempts failed"
    return f"{receiver.host} is paused: {failed}, {waiting}, one is tried at {_moment(receiver)}"


def _moment(receiver: PausedReceiver) -> str:
    return datetime.fromtimestamp(receiver.next_attempt_ms / 1000, UTC).isoformat(timespec="seconds")


def _page(transaction_id: str, state: Mapping[str, Any]) -> str:
    rows = {"transaction": transaction_id, **{name: state[name] for name in ("event", "url", "webhook_id", "status")}}
    rows |= {"next attempt": state["next_attempt_at"], "given up": state.get("error")}
    lines = [f"{name:<13} {value}" for name, value in rows.items() if value is not None]
    return "\n".join([*lines, *(f"  {each['at']}  {attempt_line(each)}" for each in state["attempts"])])


def attempt_line(attempt: Mapping[str, Any]) -> str:
    """One attempt in words: its status or error, how long it took, and how the answer begins."""
    took = f" after {attempt['latency_ms']:.0f} ms" if attempt["latency_ms"] is not None else ""
    if attempt["error"] is not None:
        return f"{attempt['error']}{took}"
    begins = f": {attempt['answer']!r}" if attempt["answer"] else ""
    return f"status {attempt['status']}{took}{begins}"
