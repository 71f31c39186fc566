"""The loop of everything that an API process does again and again in the background."""

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
    """Takes a step, pauses, and so on until cancelled: a step that fails is logged as `failed` and is not the last.

    `outage` is what an outage of Redis means to the step; without it that is a failure as any other.
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
