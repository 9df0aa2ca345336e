"""The cost of the page for the computer of a viewer: a tab in a real Chromium, refreshed by the page's timer."""

from __future__ import annotations

import argparse
import asyncio
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psutil
from playwright.async_api import Browser, async_playwright

from benchmarks import report
from benchmarks.viewer import ANSWER_WITHIN_SECONDS, BrokenPage
from benchmarks.visits import Visit
from benchmarks.watching import cpu_seconds
from streamapp.net import HOST

_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No GPU, no user namespace needed, and no requests but those of the page.
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_SCREEN: Any = {"width": 1440, "height": 900}
#: Seconds for what a browser does once, after the page is complete.
_SETTLE_SECONDS = 5.0


class Cost(NamedTuple):
    """The cost of one visit."""

    #: CPU of all processes of the browser.
    cpu_seconds: float
    #: Of all that is loaded for the first visit, as it is on the wire.
    megabytes: float


async def measure(port: int, visits: Sequence[Visit], options: argparse.Namespace) -> Mapping[str, Cost]:
    """Return the cost of each visit; none without a Chromium on this machine."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        report.say("No Chromium on this machine: the cost for the viewer is not measured.\n")
        return {}
    costs: dict[str, Cost] = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*_FLAGS])
        for visit in visits:
            report.progress(f"a tab in Chromium: {visit.name}")
            costs[visit.name] = await _cost(browser, port, visit, options.client_seconds)
        await browser.close()
    return costs


async def _cost(browser: Browser, port: int, visit: Visit, seconds: float) -> Cost:
    context = await browser.new_context(viewport=_SCREEN)
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await page.goto(f"http://{HOST}:{port}/?{urlencode(visit.parameters, doseq=True)}")
    await page.get_by_text(visit.shows).first.wait_for(timeout=1_000 * ANSWER_WITHIN_SECONDS)
    await asyncio.sleep(_SETTLE_SECONDS)
    processes = _chromium()
    before = cpu_seconds(processes)
    await asyncio.sleep(seconds)
    used = cpu_seconds(processes) - before
    await context.close()
    return Cost(used, sum(sizes) / 1e6)


def _chromium() -> list[psutil.Process]:
    """The processes of Chromium, without their parent, the driver of Playwright."""
    found = [process for process in psutil.Process().children(recursive=True) if "chrom" in process.name()]
    if not found:
        raise BrokenPage("no process of Chromium was found")
    return found
