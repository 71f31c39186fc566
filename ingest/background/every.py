"""The loop of an API process's periodic tasks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from riskline.shared.errors import StoreUnavailableError


async def every(
    seconds: float,
    step: Callable[[], Awaitable[object]],
    *,
    log: Any,
    failed: str,
    outage: Callable[[StoreUnavailableError], None] | None = None,
) -> None:
    """Runs a step every `seconds` until cancelled. A step that fails is logged as `failed`, and the loop goes on.

    `outage` handles an outage of Redis; without it an outage is a failure like any other.
    """
    while True:
        try:
            await step()
        except Exception as error:
            if outage is not None and isinstance(error, StoreUnavailableError):
                outage(error)
            else:
                log.exception(failed)
        await asyncio.sleep(seconds)
