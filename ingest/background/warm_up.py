"""The work that is done once when a process starts, so that no request waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from riskline.shared.errors import StoreUnavailableError

AGAIN_SECONDS = 1.0


class WarmUp:
    """The steps, one after another; a step that meets an outage of Redis is repeated."""

    def __init__(self, steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._steps = steps

    async def run(self) -> None:
        """Does each step."""
        for step in self._steps:
            while not await _done(step):  # noqa: ASYNC110  # Redis does not announce that it is back
                await asyncio.sleep(AGAIN_SECONDS)


async def _done(step: Callable[[], Awaitable[None]]) -> bool:
    try:
        await step()
    except StoreUnavailableError:
        return False
    return True
