"""A time limit for a call of Redis, in which the time that this process itself was busy does not count."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEPS = 4
"""The steps in which the time is looked at: an answer that came during one is read before the next ends."""


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError where what is awaited takes longer than `seconds`.

    The event loop runs a timer that is due before it reads the answers that have arrived. A step that ends late says
    that the loop was busy, not that Redis is slow: it does not count.
    """
    loop = asyncio.get_running_loop()
    step = seconds / STEPS
    timer: asyncio.TimerHandle

    def look_later(left: int) -> None:
        nonlocal timer
        timer = loop.call_later(step, look, left, time.monotonic() + step)

    def look(left: int, due: float) -> None:
        left -= time.monotonic() - due < step
        if left:
            look_later(left)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        look_later(STEPS)
        try:
            yield
        finally:
            timer.cancel()
