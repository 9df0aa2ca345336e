"""The refresh of the page, from the request of a tab to the end of the script, over histories of several sizes."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks import report, site
from benchmarks.history import PARTITIONS
from benchmarks.load import Past, load
from benchmarks.site import Site
from benchmarks.viewer import BrokenPage, Shown, viewer
from dashboard.data.feed import FRESH_FOR
from dashboard.model.time_window import RANGES, Range, range_named
from streamapp.errors import BackendError
from streamapp.local.backend import Backend
from streamapp.settings import Settings

NAME = "refresh"
#: Seconds between two refreshes, as the page's own timer has it.
_EVERY_SECONDS = 5.0
#: Seconds after which a cached reading is no longer used.
_STALE_AFTER_SECONDS = FRESH_FOR.total_seconds() + 0.05
#: Seconds for the events that happened during the load, and then for the background work of MongoDB and the pages.
_CATCH_UP_WITHIN_SECONDS = 300.0
_SETTLE_SECONDS = 5.0
_TARGETS_MS = {1: 100.0}
_TARGET_MS_OF_MANY = 300.0
_TARGET_RATIO = 1.2


class Case(NamedTuple):
    """The subject of one row of the table."""

    range: str
    viewers: int
    events: int


class Refresh(NamedTuple):
    """The cost of one refresh."""

    seconds: float
    #: CPU of the page's process; None while other refreshes ran at the same time.
    cpu_seconds: float | None = None


Times = Mapping[Case, Sequence[Refresh]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    keys = [offered.key for offered in RANGES]
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 40])
    parser.add_argument("--ranges", nargs="+", default=["15 min", "24 h", "30 d"], choices=keys, metavar="RANGE")
    parser.add_argument("--rounds", type=int, default=2, help="rounds per size (default 2)")
    parser.add_argument(
        "--refreshes", type=int, default=20, help="refreshes of a single viewer in a round (default 20)"
    )
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="seconds for which several viewers watch in a round (default 15)"
    )


def run(options: argparse.Namespace) -> None:
    """Load the histories, serve the pages, visit them, compare the numbers with a count, and print a table."""
    if any(events % PARTITIONS or events < PARTITIONS for events in options.events):
        sys.exit(f"--events takes multiples of {PARTITIONS}, the number of partitions")
    try:
        with ExitStack() as stack:
            sites = _serve(stack, options.events)
            report.say(f"Before the first refresh: {report.machine(sites[0].past.uri)}\n")
            times = asyncio.run(_look(sites, [range_named(key) for key in options.ranges], options))
    except (BackendError, BrokenPage) as exc:
        sys.exit(str(exc))
    _print(times, options)


def _serve(stack: ExitStack, sizes: Sequence[int]) -> list[Site]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    backend = stack.enter_context(Backend(folder, Settings(), usual_ports=False))
    for unneeded in (backend.kafka, backend.registry):
        unneeded.stop()
    end, uri = datetime.now(UTC), backend.addresses.mongo_uri
    pasts = [Past(events=events, end=end, uri=uri, folder=folder) for events in sizes]
    for past in pasts:
        load(past)
    return [site.serve(past, stack) for past in pasts]


async def _look(sites: Sequence[Site], ranges: Sequence[Range], options: argparse.Namespace) -> Times:
    times: dict[Case, list[Refresh]] = defaultdict(list)
    await _check(sites, ranges)
    await _start_writing(sites)
    for number in range(options.rounds):
        for chosen in ranges:
            for viewers in options.viewers:
                report.progress(f"round {number + 1} of {options.rounds}: {chosen.key}, {viewers} viewers")
                if viewers == 1:
                    found = await _one_viewer(sites, chosen, options.refreshes)
                else:
                    found = await _many_viewers(sites, chosen, viewers, options.seconds)
                for events, refreshes in found.items():
                    times[Case(chosen.key, viewers, events)] += refreshes
    for each in sites:
        each.stop_writing()
    await _check(sites, ranges)
    return times


async def _start_writing(sites: Sequence[Site]) -> None:
    """Continue the histories, and wait until the events since their end are written."""
    for each in sites:
        each.start_writing()
    async with asyncio.timeout(_CATCH_UP_WITHIN_SECONDS):
        while any(each.is_behind() for each in sites):  # noqa: ASYNC110 - it is asked of MongoDB
            await asyncio.sleep(0.5)
    await asyncio.sleep(_SETTLE_SECONDS)


async def _check(sites: Sequence[Site], ranges: Sequence[Range]) -> None:
    """Check, while nothing is written, that the page shows the stored events."""
    for each in sites:
        for chosen in ranges:
            async with viewer(each.port, range=chosen.key) as tab:
                await tab.open()
                await asyncio.sleep(_STALE_AFTER_SECONDS)
                before = each.counted(chosen)
                shown = (await tab.refresh()).total()
                if shown not in {before, each.counted(chosen)}:  # a new bucket may have started meanwhile
                    raise BrokenPage(f"{shown:,} events in the {chosen.words}, {before:,} are stored")
                report.progress(f"{each.past.name}: {shown:,} events in the {chosen.words}, as stored")


async def _one_viewer(sites: Sequence[Site], chosen: Range, refreshes: int) -> dict[int, list[Refresh]]:
    """One tab per size, in turns; each refresh comes after the cache has expired."""
    times: dict[int, list[Refresh]] = {each.past.events: [] for each in sites}
    async with AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(viewer(each.port, range=chosen.key)) for each in sites]
        last = [(await tab.open()).read_at() for tab in tabs]
        await asyncio.sleep(_STALE_AFTER_SECONDS)
        for _ in range(refreshes):
            for i, (each, tab) in enumerate(zip(sites, tabs, strict=True)):
                # so that enough time passes between two refreshes of the same tab
                await asyncio.sleep(_STALE_AFTER_SECONDS / len(sites))
                used = each.cpu_seconds()
                shown = await tab.refresh()
                used = each.cpu_seconds() - used
                shown.total()
                if shown.read_at() == last[i]:
                    raise BrokenPage(f"read from the cache: {last[i]}")
                last[i] = shown.read_at()
                times[each.past.events].append(Refresh(shown.seconds, used))
    return times


async def _many_viewers(sites: Sequence[Site], chosen: Range, viewers: int, seconds: float) -> dict[int, list[Refresh]]:
    """Many tabs on one size after the other, each refreshed by the page's timer, from the cache or not."""
    return {each.past.events: await _crowd(each.port, chosen, viewers, seconds) for each in sites}


async def _crowd(port: int, chosen: Range, viewers: int, seconds: float) -> list[Refresh]:
    now = asyncio.get_running_loop().time()
    # All tabs are open after one interval; measuring starts with their first refresh after that.
    measured_from = now + 2 * _EVERY_SECONDS
    async with asyncio.TaskGroup() as crowd:
        tasks = [
            crowd.create_task(
                _visit(port, chosen, now + number * _EVERY_SECONDS / viewers, measured_from, measured_from + seconds)
            )
            for number in range(viewers)
        ]
    return [Refresh(shown.seconds) for task in tasks for shown in task.result()]


async def _visit(port: int, chosen: Range, begin: float, measured_from: float, end: float) -> list[Shown]:
    """Open a tab, refresh it until the end; return the refreshes that count."""
    counted: list[Shown] = []
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(begin - clock())
    async with viewer(port, range=chosen.key) as tab:
        await tab.open()
        while (due := begin + _EVERY_SECONDS) < end:
            begin = due
            await asyncio.sleep(due - clock())
            shown = await tab.refresh()
            if due >= measured_from:
                counted.append(shown)
    for shown in counted:
        shown.total()
    return counted


def _print(times: Times, options: argparse.Namespace) -> None:
    head = ["range", "viewers", "events", "median ms", "p95 ms", "max ms", "page's CPU ms", "refreshes", ""]
    report.table(head, [_row(case, times[case]) for case in sorted(times)])
    smallest, largest = min(options.events), max(options.events)
    if smallest < largest:
        ratios = [_ratio(case, times, largest) for case in sorted(times) if case.events == smallest]
        report.table(["range", "viewers", f"median at {largest:,} to {smallest:,}", ""], ratios)


def _row(case: Case, refreshes: Sequence[Refresh]) -> list[str]:
    ms = [1_000 * refresh.seconds for refresh in refreshes]
    p95, target = report.percentile(ms, 0.95), _TARGETS_MS.get(case.viewers, _TARGET_MS_OF_MANY)
    figures = [f"{statistics.median(ms):.0f}", f"{p95:.0f}", f"{max(ms):.0f}", _cpu(refreshes), str(len(ms))]
    return [case.range, str(case.viewers), f"{case.events:,}", *figures, _verdict(p95, target, "p95 ≤ {:.0f} ms")]


def _cpu(refreshes: Sequence[Refresh]) -> str:
    known = [1_000 * refresh.cpu_seconds for refresh in refreshes if refresh.cpu_seconds is not None]
    # The mean, since the kernel counts CPU in steps of 10 ms.
    return f"{statistics.mean(known):.0f}" if known else ""


def _ratio(case: Case, times: Times, largest: int) -> list[str]:
    of_many, of_few = (
        statistics.median(refresh.seconds for refresh in times[each]) for each in (case._replace(events=largest), case)
    )
    ratio = of_many / of_few
    return [case.range, str(case.viewers), f"{ratio:.2f}", _verdict(ratio, _TARGET_RATIO, "≤ {:.1f}")]


def _verdict(value: float, target: float, words: str) -> str:
    return f"{words.format(target)}: {'kept' if value <= target else 'missed'}"
