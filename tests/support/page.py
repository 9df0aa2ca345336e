"""The page in a real Chromium: served by `streamapp dashboard`, driven by Playwright, and what it must show."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from tests.support.doubles.dashboard_reader import document, v1
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import FloatRect, Locator

COMMAND = [sys.executable, "-c", "from streamapp.commands.dashboard import command; command()"]
# A refresh, a query at its limit, and a slow machine, on which a part of Streamlit's scripts takes long to load.
SOON_MS = 120_000
expect.set_options(timeout=SOON_MS)
KPIS = ("Total events", "Unique users", "V2 adoption", "Top event")
CHARTS = ("Events over time", "Event types", "Browsers", "Devices", "V2 adoption over time", "Locations")


def free_port() -> int:
    # Not from the range of outgoing connections: one that keeps trying could connect to itself, and keep the port.
    for port in random.sample(range(15_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail("no free port")


def environment(uri: str, database: str) -> dict[str, str]:
    return {**os.environ, "STREAMAPP_MONGO_URI": uri, "STREAMAPP_MONGO_DATABASE": database}


@contextmanager
def served(uri: str, database: str, folder: Path) -> Iterator[str]:
    """Serve the page, from a folder with another package `dashboard` in it; yield its address."""
    (folder / "dashboard").mkdir(exist_ok=True)
    (folder / "dashboard" / "__init__.py").write_text("raise SystemExit('not this one')")
    port = free_port()
    command = [*COMMAND, "--port", str(port)]
    with (folder / "page.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(uri, database), stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or answers(port), within=120, what="the page")
        assert process.poll() is None, (folder / "page.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def opened(tab: Page, url: str) -> Page:
    tab.goto(url)
    expect(tab.get_by_test_id("stMetric")).to_have_count(4, timeout=SOON_MS)
    return tab


def card(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stMetric").filter(has_text=label)


def kpi(page: Page, label: str) -> tuple[str, str]:
    value, beside = (card(page, label).get_by_test_id(f"stMetric{part}") for part in ("Value", "DeltaDescription"))
    return value.inner_text().strip(), beside.inner_text().strip()


def kpis(page: Page) -> dict[str, tuple[str, str]]:
    return {label: kpi(page, label) for label in KPIS}


def expect_total(page: Page, total: str) -> None:
    expect(card(page, "Total events").get_by_test_id("stMetricValue")).to_have_text(total, timeout=SOON_MS)


def expect_range(page: Page, pressed: str | None, *, refresh: str) -> None:
    """Expect the range that is pressed, None for none, and the interval that is shown."""
    ranges = page.get_by_role("radiogroup", name="Range of event time")
    expect(ranges.get_by_role("radio", checked=True)).to_have_text([pressed] if pressed else [], timeout=SOON_MS)
    interval = page.get_by_role("combobox", name=re.compile("auto refresh", re.IGNORECASE))
    expect(interval).to_have_count(1, timeout=SOON_MS)  # while Streamlit replaces it, there are two
    expect(interval).to_have_value(refresh, timeout=SOON_MS)


def draw(page: Page, start: float, end: float) -> None:
    """Draw a box over the chart over time; its sides are fractions of the chart's width."""
    # A refresh in between would end it: draw just after one.
    wait_for_refresh(page)
    area = page.locator(".js-plotly-plot").first.locator(".nsewdrag").first

    def place() -> FloatRect | None:
        with suppress(PlaywrightError):
            area.scroll_into_view_if_needed(timeout=1_000)
            return area.bounding_box()
        return None

    box = until(place, what="the chart")
    assert box
    page.mouse.move(box["x"] + box["width"] * start, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, box["y"] + box["height"] * 0.6, steps=8)
    page.mouse.up()


def press_until(page: Page, *names: str, back: bool = False, most: int = 60) -> None:
    """Press Tab until the focus is on a control of one of these names, which the focus makes visible."""
    for _ in range(most):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if any(name in focused(page) for name in names):
            return
    pytest.fail(f"{names} has no turn")


def choose(page: Page, name: str, *offered: str, back: bool = False) -> None:
    """Go by key to one of several buttons beside each other, of which any may be the one that Tab leads to."""
    press_until(page, *offered, back=back)
    for _ in range(10):
        if focused(page) == name:
            page.keyboard.press("Enter")
            return
        page.keyboard.press("ArrowRight")
    pytest.fail(f"no arrow leads to {name}")


def focused(page: Page) -> str:
    """Return the name of the control that has the focus; that of a table is "table"."""
    name = page.evaluate(
        "() => { const e = document.activeElement; const l = e.labels?.[0] ?? e;"
        " return e.matches('canvas') ? 'table' : e.matches('button, input, summary')"
        " ? e.getAttribute('aria-label') || l.innerText : '' }"
    )
    return re.sub(r"\s+", " ", name).strip()


def wait_for_refresh(page: Page) -> None:
    read_at = page.get_by_text("read at").inner_text()
    expect(page.get_by_text("read at")).not_to_have_text(read_at, timeout=SOON_MS)


def click_until(control: Locator, seen: Locator) -> None:
    """Click on a control until something is visible: Streamlit loses a click on a control that it replaces then."""
    for _ in range(4):
        control.click()
        with suppress(AssertionError):
            expect(seen).to_be_visible(timeout=SOON_MS / 4)
            return
    pytest.fail(f"{seen} is not visible after clicks on {control}")


def choose_refresh(page: Page, interval: str) -> None:
    page.get_by_role("combobox", name=re.compile("auto refresh", re.IGNORECASE)).click()
    page.get_by_role("option", name=interval, exact=True).click()
    expect(page).to_have_url(re.compile(f"refresh={interval[:2]}"))


def faults_of(page: Page) -> list[Any]:
    """Return what axe finds, and where."""
    return [(finding["id"], finding["nodes"]) for finding in Axe().run(page).response["violations"]]


def some_documents(n: int) -> list[dict[str, Any]]:
    """Return documents of the last 14 minutes, and some from before the default range."""
    chance, now = random.Random(11), datetime.now(UTC)
    return [
        one_document(chance, now - timedelta(seconds=chance.choice([chance.uniform(1, 840), 4_000]))) for _ in range(n)
    ]


def one_document(chance: random.Random, at: datetime) -> dict[str, Any]:
    values = {
        "user_id": f"user-{int(chance.expovariate(1 / 15))}",
        "event_type": chance.choices(["page_view", "click", "search", "add_to_cart", "purchase"], [40, 25, 15, 12, 8])[
            0
        ],
        "metadata": {"device": chance.choices(["mobile", "desktop", "tablet"], [5, 4, 1])[0], "location": "DE"},
    }
    if chance.random() < 0.3:
        return v1(at, **values)
    return document(at, **values, browser=chance.choices(["chrome", "safari", "firefox", "edge"], [5, 3, 2, 1])[0])


def recount(documents: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    since = (datetime.now(UTC) - timedelta(minutes=15)).timestamp() * 1_000
    inside = [found for found in documents if found["event_timestamp"] >= since]
    n, v2 = len(inside), sum(found["schema_version"] == "v2" for found in inside)
    action, times = Counter(found["event_type"] for found in inside).most_common(1)[0]
    return {
        "Total events": (f"{n:,}", f"{len(documents):,} all time"),
        "Unique users": (f"{len({found['user_id'] for found in inside}):,}", "in the last 15 minutes"),
        "V2 adoption": (f"{100 * v2 / n:.1f}%", f"{v2:,} of {n:,}"),
        "Top event": (action, f"{100 * times / n:.1f}% of events"),
    }
