"""`riskline history status`: what is kept of each entity, since when, and how warm its windows are."""

import asyncio
from typing import Any, NamedTuple

import orjson
import typer

from riskline.cli.history.opened import OpenedHistory, opened_history
from riskline.cli.options import DataOption, JsonOption
from riskline.cli.terminal import working
from riskline.shared.clock import now_us, utc_text
from riskline.shared.domain.history.plan import EntityPlan, duration
from riskline.shared.store.history.interface import Mark, Size
from riskline.shared.store.history.warmth import WindowWarmth, windows
from riskline.shared.wording import counted

NOTHING = Size(0, 0, is_exact=True)


class EntityStatus(NamedTuple):
    """What is known of an entity."""

    plan: EntityPlan
    mark: Mark
    size: Size
    windows: list[WindowWarmth]


def status(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say what is kept of each entity, since when it is observed, and how warm its windows are."""
    with opened_history(data) as opened, working("looking at a sample of the keys of Redis"):
        entities = asyncio.run(_read(opened))
    if as_json:
        shown = [_described(each) for each in entities]
        typer.echo(orjson.dumps({"entities": shown}, option=orjson.OPT_INDENT_2))
        return
    for each in entities:
        typer.echo(_sentence(each))
        for window in each.windows:
            typer.echo(f"  {duration(window.window_us):<6}{_warm(window):<44}{', '.join(window.columns)}")


async def _read(opened: OpenedHistory) -> list[EntityStatus]:
    asked_us = now_us()
    async with opened.store() as store:
        marks, sizes = await store.marks(), await store.sizes()
    found = []
    for plan in opened.history.entities:
        mark = marks.get(plan.fingerprint, Mark(plan.name))
        size = sizes.get(plan.fingerprint, NOTHING)
        found.append(EntityStatus(plan, mark, size, windows(plan, mark, now_us=asked_us)))
    return found


def _sentence(each: EntityStatus) -> str:
    size = each.size
    about = "" if size.is_exact else "about "
    megabytes = f"{size.size_bytes / 1e6:,.1f} MB"
    kept = f"{about}{counted(size.entities, 'entity', 'entities')} in {megabytes}, kept {duration(each.plan.keep_us)}"
    mark = each.mark
    parts = [f"{each.plan.name}: {kept}"]
    if mark.live_from_us is None:
        parts.append("not observed live yet")
    else:
        parts.append(f"observed live from {_text(mark.live_from_us)} to {_text(mark.live_to_us)}")
    if mark.backfilled_from_us is not None:
        parts.append(f"backfilled from {_text(mark.backfilled_from_us)} to {_text(mark.backfilled_to_us)}")
    return "; ".join(parts)


def _warm(window: WindowWarmth) -> str:
    if window.share >= 1:
        return "warm"
    if window.warm_at_us is None:
        return "cold"
    return f"{window.share:.0%} warm, all at {_text(window.warm_at_us)}"


def _described(each: EntityStatus) -> dict[str, Any]:
    mark, size = each.mark, each.size
    return {
        "entity": each.plan.name,
        "fingerprint": each.plan.fingerprint,
        "keep": duration(each.plan.keep_us),
        "entities": size.entities,
        "bytes": size.size_bytes,
        "exact": size.is_exact,
        "live_from": _text(mark.live_from_us),
        "live_to": _text(mark.live_to_us),
        "backfilled_from": _text(mark.backfilled_from_us),
        "backfilled_to": _text(mark.backfilled_to_us),
        "windows": [
            {
                "window": duration(window.window_us),
                "columns": window.columns,
                "warm": round(window.share, 4),
                "warm_at": _text(window.warm_at_us),
            }
            for window in each.windows
        ],
    }


def _text(at_us: int | None) -> str | None:
    return None if at_us is None else utc_text(at_us / 1e6)
