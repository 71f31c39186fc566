"""What runs beside the requests ends when the server does."""

import asyncio

from ingest.lifespan import end


async def test_a_task_that_misses_its_cancellation_is_cancelled_again() -> None:
    missed = 0

    async def misses() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                # as a client does whose answer came at the same moment
                if missed == 2:
                    raise
                missed += 1

    tasks = [asyncio.create_task(misses()), asyncio.create_task(asyncio.sleep(10))]
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await end(tasks)

    assert missed == 2
    assert all(task.cancelled() for task in tasks)
