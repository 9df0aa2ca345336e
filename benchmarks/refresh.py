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
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from benchmarks import client, report, site
from benchmarks.client import Cost
from benchmarks.crowd import EVERY_SECONDS, crowd
from benchmarks.history import PARTITIONS
from benchmarks.load import Past, end_of, load
from benchmarks.site import Site
from benchmarks.viewer import BrokenPage, viewer
from benchmarks.visits import EVERY_VIEW, VISITS, Visit
from dashboard.data.feed import FRESH_FOR
from streamapp.errors import BackendError
from streamapp.local.backend import Backend
from streamapp.settings import Settings

NAME = "refresh"
#: Seconds after which the numbers of events that the page has kept are no longer used.
_STALE_AFTER_SECONDS = FRESH_FOR.total_seconds() + 0.05
#: Seconds for the events that happened since the end of the history, and then for the background work of MongoDB.
_CATCH_UP_WITHIN_SECONDS = 1_200.0
_SETTLE_SECONDS = 5.0
_TARGETS_MS = {1: 100.0}
_TARGET_MS_OF_MANY = 300.0
_TARGET_RATIO = 1.2
_TARGET_CLIENT_CPU_SECONDS = 2.0
_TARGET_CLIENT_MB = 3.0


class Case(NamedTuple):
    """The subject of one row of the table."""

    visit: str
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
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--viewers", type=int, default=40, help="viewers at the same time, 0 for none (default 40)")
    parser.add_argument("--visits", nargs="+", default=[""], metavar="TEXT", help="only visits with this in their name")
    parser.add_argument("--refreshes", type=int, default=20, help="refreshes of a single viewer (default 20)")
    parser.add_argument("--seconds", type=float, default=15.0, help="seconds for which many viewers watch (default 15)")
    parser.add_argument(
        "--client-seconds", type=float, default=30.0, help="seconds of a tab in Chromium, 0 for none (default 30)"
    )
    parser.add_argument("--folder", type=Path, help="keep the histories here, and use those that are here")


def run(options: argparse.Namespace) -> None:
    """Load the histories, serve the pages, visit them, compare the numbers with a count, and print a table."""
    if any(events % PARTITIONS or events < PARTITIONS for events in options.events):
        sys.exit(f"--events takes multiples of {PARTITIONS}, the number of partitions")
    visits = [visit for visit in VISITS if any(text in visit.name for text in options.visits)]
    try:
        with ExitStack() as stack:
            sites = _serve(stack, options.events, options.folder)
            report.say(f"Before the first refresh: {report.machine(sites[0].past.uri)}\n")
            times, costs = asyncio.run(_look(sites, visits, options))
    except (BackendError, BrokenPage) as exc:
        sys.exit(str(exc))
    _print(times, visits, options)
    if costs:
        _print_client(costs, options)


def _serve(stack: ExitStack, sizes: Sequence[int], kept: Path | None) -> list[Site]:
    folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    backend = stack.enter_context(Backend(folder, Settings(), usual_ports=False))
    for unneeded in (backend.kafka, backend.registry):
        unneeded.stop()
    end, uri = end_of(folder), backend.addresses.mongo_uri
    pasts = [Past(events=events, end=end, uri=uri, folder=folder) for events in sizes]
    for past in pasts:
        load(past)
    return [site.serve(past, stack) for past in pasts]


async def _look(
    sites: Sequence[Site], visits: Sequence[Visit], options: argparse.Namespace
) -> tuple[Times, Mapping[str, Cost]]:
    times: dict[Case, list[Refresh]] = defaultdict(list)
    costs: Mapping[str, Cost] = {}
    await _catch_up(sites)
    await _stop_and_check(sites, visits)
    await _catch_up(sites)
    await _one_viewer(sites, visits, options.refreshes, times)
    crowds = {visit.name: [visit] for visit in visits if visit.has_crowd} | {EVERY_VIEW: visits}
    for name, watched in crowds.items() if options.viewers else ():
        for each in sites:
            report.progress(f"{options.viewers} viewers, {each.past.events:,} events: {name}")
            seconds = await crowd(each.port, watched, options.viewers, options.seconds)
            times[Case(name, options.viewers, each.past.events)] += map(Refresh, seconds)
    if options.client_seconds:
        costs = await client.measure(sites[-1].port, [visit for visit in visits if visit.has_crowd], options)
    await _stop_and_check(sites, visits)
    return times, costs


async def _catch_up(sites: Sequence[Site]) -> None:
    """Continue the histories, and wait until the events since their end are written."""
    for each in sites:
        each.start_writing()
    try:
        async with asyncio.timeout(_CATCH_UP_WITHIN_SECONDS):
            while any(each.is_behind() for each in sites):  # noqa: ASYNC110 - it is asked of MongoDB
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise BackendError("the histories end too long ago: delete their folder") from None
    await asyncio.sleep(_SETTLE_SECONDS)


async def _stop_and_check(sites: Sequence[Site], visits: Sequence[Visit]) -> None:
    """Check, while nothing is written, that the page shows the stored events."""
    for each in sites:
        each.stop_writing()
    await asyncio.sleep(_STALE_AFTER_SECONDS)
    for each in sites:
        for visit in visits:
            async with viewer(each.port, visit.parameters) as tab:
                before, shown = each.counted(visit), await tab.open()
                shown.check(visit)
                # A new bucket may have started meanwhile.
                if visit.has_total and not any(shown.has_total(n) for n in (before, each.counted(visit))):
                    raise BrokenPage(f"{visit.name}: {shown.total()} events are shown, {before:,} are stored")
        report.progress(f"{each.past.name}: all numbers of events are as stored")


async def _one_viewer(
    sites: Sequence[Site], visits: Sequence[Visit], refreshes: int, times: dict[Case, list[Refresh]]
) -> None:
    """One tab for each visit and size, each refreshed as often as the page's timer does it; two visits in turns."""
    half = -(-len(visits) // 2)
    for pair in zip_longest(visits[:half], visits[half:]):
        # Visits that are far apart in the list do not ask the same.
        watched = [visit for visit in pair if visit is not None]
        report.progress(f"1 viewer: {'; '.join(visit.name for visit in watched)}")
        async with AsyncExitStack() as stack:
            tabs = [
                (visit, each, await stack.enter_async_context(viewer(each.port, visit.parameters)))
                for visit in watched
                for each in sites
            ]
            for visit, _, tab in tabs:
                (await tab.open()).check(visit)
            for _ in range(refreshes):
                for visit, each, tab in tabs:
                    await asyncio.sleep(EVERY_SECONDS / len(tabs))
                    used = each.cpu_seconds()
                    shown = await tab.refresh()
                    used = each.cpu_seconds() - used
                    shown.check(visit)
                    times[Case(visit.name, 1, each.past.events)].append(Refresh(shown.seconds, used))


def _print(times: Times, visits: Sequence[Visit], options: argparse.Namespace) -> None:
    order = [*(visit.name for visit in visits), EVERY_VIEW]
    cases = sorted(times, key=lambda case: (case.viewers, order.index(case.visit), case.events))
    head = ["view", "viewers", "events", "median ms", "p95 ms", "max ms", "page's CPU ms", "refreshes", ""]
    report.table(head, [_row(case, times[case]) for case in cases])
    smallest, largest = min(options.events), max(options.events)
    if smallest < largest:
        ratios = [_ratio(case, times, largest) for case in cases if case.events == smallest]
        report.table(["view", "viewers", f"median at {largest:,} to {smallest:,}", ""], ratios)


def _row(case: Case, refreshes: Sequence[Refresh]) -> list[str]:
    ms = [1_000 * refresh.seconds for refresh in refreshes]
    p95, target = report.percentile(ms, 0.95), _TARGETS_MS.get(case.viewers, _TARGET_MS_OF_MANY)
    figures = [f"{statistics.median(ms):.0f}", f"{p95:.0f}", f"{max(ms):.0f}", _cpu(refreshes), str(len(ms))]
    return [case.visit, str(case.viewers), f"{case.events:,}", *figures, _verdict(p95, target, "p95 ≤ {:.0f} ms")]


def _cpu(refreshes: Sequence[Refresh]) -> str:
    known = [1_000 * refresh.cpu_seconds for refresh in refreshes if refresh.cpu_seconds is not None]
    # The mean, since the kernel counts CPU in steps of 10 ms.
    return f"{statistics.mean(known):.0f}" if known else ""


def _ratio(case: Case, times: Times, largest: int) -> list[str]:
    of_many, of_few = (
        statistics.median(refresh.seconds for refresh in times[each]) for each in (case._replace(events=largest), case)
    )
    ratio = of_many / of_few
    return [case.visit, str(case.viewers), f"{ratio:.2f}", _verdict(ratio, _TARGET_RATIO, "≤ {:.1f}")]


def _print_client(costs: Mapping[str, Cost], options: argparse.Namespace) -> None:
    limit = _TARGET_CLIENT_CPU_SECONDS * options.client_seconds / 30
    rows = [
        [
            name,
            f"{cost.cpu_seconds:.2f}",
            _verdict(cost.cpu_seconds, limit, "≤ {:.1f} s"),
            f"{cost.megabytes:.2f}",
            _verdict(cost.megabytes, _TARGET_CLIENT_MB, "≤ {:.0f} MB"),
        ]
        for name, cost in costs.items()
    ]
    head = ["view in Chromium", f"CPU s in {options.client_seconds:.0f} s", "", "MB to load", ""]
    report.table(head, rows)


def _verdict(value: float, target: float, words: str) -> str:
    return f"{words.format(target)}: {'kept' if value <= target else 'missed'}"
