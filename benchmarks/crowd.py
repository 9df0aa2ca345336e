"""Many tabs on one page, each refreshed by the page's timer, from what the page has kept or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.viewer import Shown, viewer
from benchmarks.visits import Visit

#: Seconds between two refreshes, as the page's own timer has it.
EVERY_SECONDS = 5.0


async def crowd(port: int, visits: Sequence[Visit], viewers: int, seconds: float) -> list[float]:
    """Return how long each refresh of the viewers took; they share the visits."""
    now = asyncio.get_running_loop().time()
    # All tabs are open after one interval; measuring starts with their first refresh after that.
    measured_from = now + 2 * EVERY_SECONDS
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                _visit(
                    port,
                    visits[number % len(visits)],
                    now + number * EVERY_SECONDS / viewers,
                    measured_from,
                    measured_from + seconds,
                )
            )
            for number in range(viewers)
        ]
    return [shown.seconds for task in tasks for shown in task.result()]


async def _visit(port: int, visit: Visit, begin: float, measured_from: float, end: float) -> list[Shown]:
    """Open a tab, refresh it until the end; return the refreshes that count."""
    counted: list[Shown] = []
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(begin - clock())
    async with viewer(port, visit.parameters) as tab:
        await tab.open()
        while (due := begin + EVERY_SECONDS) < end:
            begin = due
            await asyncio.sleep(due - clock())
            shown = await tab.refresh()
            if due >= measured_from:
                counted.append(shown)
    for shown in counted:
        shown.check(visit)
    return counted
