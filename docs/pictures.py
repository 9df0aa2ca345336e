"""Take the pictures of the page in `docs/images/`.

    uv run python docs/pictures.py

It runs a local backend, a worker and the dashboard for some minutes, sends sample events of 30 days and some records
that cannot be stored, and takes the pictures in Chromium.

    uv run python docs/pictures.py --all FOLDER [--url URL]

It takes every view at each width and in each theme instead, to look at; with `--url`, of a page that runs already.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pymongo import MongoClient

from dashboard.views.controls import VIEWS
from dashboard.views.tables import ROW_HEIGHT
from streamapp.settings import Settings
from tests.support import chromium
from tests.support.backends import plain_settings, running_backend
from tests.support.page import served
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, environment

Theme = Literal["light", "dark"]

IMAGES = Path(__file__).parent / "images"
#: Widths to look at, with the heights of such screens.
SCREENS = {390: 844, 1024: 768, 1440: 900, 1920: 1080}
KIOSK = (1920, 1080)
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDTH, HEIGHT = 1280, 900
#: Four weeks of version 1, then version 2 as well.
OLD, NEW = 60_000, 9_000
NEW_SINCE = timedelta(hours=20)
#: For two minutes, with records that cannot be stored.
SENT_NOW = ("--rate", "15", "--count", "1800", "--faults", "corrupt=0.01,unknown-id=0.005,empty=0.005")
#: `streamapp worker` on a host of another name, for workers report the name of their host.
WORKER = (
    sys.executable,
    "-c",
    "import runpy, socket; socket.gethostname = lambda: 'host-a'; runpy.run_module('streamapp', run_name='__main__')",
    "worker",
)
DATABASE_OF_NOTHING = "nothing"
PATIENCE_MS = 60_000


class Picture(NamedTuple):
    """A picture of the page."""

    name: str
    #: What follows the address of the page.
    address: str
    theme: Theme = "light"
    width: int = WIDTH
    height: int = HEIGHT
    #: Whether all of the view is on it, or what the screen shows without scrolling.
    is_whole: bool = True
    #: Whether an event of the table is selected.
    has_event: bool = False


#: The pictures of the documents.
PICTURES = (
    Picture("page-light", "?range=24+h"),
    Picture("page-dark", "?range=24+h&compare=true&devices=mobile&devices=tablet", theme="dark"),
    Picture("page-users", "?view=Users&range=1+h"),
    Picture("page-schemas", "?view=Schemas&range=24+h"),
    Picture("page-pipeline", "?view=Pipeline"),
    Picture("page-latest", "?view=Latest&range=1+h", has_event=True),
)
EMPTY = Picture("page-empty", "", height=520, is_whole=False)
#: What there is to look at.
ALL = (
    *(
        Picture(f"{view}-{width}-{theme}", f"?view={view}&range=24+h", theme, width, height)
        for view in VIEWS
        for width, height in SCREENS.items()
        for theme in THEMES
    ),
    *(
        Picture(
            f"kiosk-{view}-{theme}",
            f"?kiosk=true&view={view}&range=24+h",
            theme,
            *KIOSK,
            is_whole=False,
        )
        for view in VIEWS
        for theme in THEMES
    ),
)


def main() -> None:
    """Take the pictures that the arguments name."""
    parser = argparse.ArgumentParser(description="Take the pictures of the page.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every view, width and theme, into this folder")
    parser.add_argument("--url", help="the address of a page that runs already")
    chosen = parser.parse_args()
    folder, pictures = (chosen.all, ALL) if chosen.all else (IMAGES, PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        browser = stack.enter_context(chromium.launched(chromium.program() or sys.exit(chromium.HOW_TO_GET_IT)))
        url, nothing = (chosen.url, None) if chosen.url else stack.enter_context(pages())
        take(pictures, browser, url, folder)
        if nothing:
            take([EMPTY], browser, nothing, folder)


@contextmanager
def pages() -> Generator[tuple[str, str]]:
    """Run all that a page needs; yield its address, and the one of a page without events."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = stack.enter_context(running_backend()).addresses
        known = plain_settings(
            kafka_bootstrap_servers=addresses.kafka_bootstrap_servers,
            schema_registry_url=addresses.schema_registry_url,
            mongo_uri=addresses.mongo_uri,
        )
        stack.enter_context(Worker(known, folder, command=WORKER)).wait_until_ready()
        send(known)
        page = stack.enter_context(served(addresses.mongo_uri, known.mongo_database, folder))
        yield page, stack.enter_context(served(addresses.mongo_uri, DATABASE_OF_NOTHING, folder))


def send(known: Settings) -> None:
    """Send events, and wait until those that can be stored are stored."""
    start = datetime.now(UTC) - timedelta(days=29)
    before = datetime.now(UTC) - NEW_SINCE - start
    minutes = int(before.total_seconds() // 60)
    of_old = ("--over", f"{minutes}min", "--start", start.isoformat(), "--count", str(OLD), "--v2-ratio", "0")
    of_new = ("--over", f"{int(NEW_SINCE.total_seconds() // 60)}min", "--count", str(NEW))
    for options in (of_old, of_new, SENT_NOW):
        subprocess.run([STREAMAPP, "send-sample", *options], env=environment(known), check=True)
    with MongoClient[dict[str, Any]](str(known.mongo_uri.get_secret_value())) as client:
        events = client[known.mongo_database]["events"]
        until(lambda: events.estimated_document_count() > OLD + NEW, within=300, what="the stored events")


def take(pictures: Iterable[Picture], browser: Browser, url: str, folder: Path) -> None:
    """Take pictures of the page at an address into a folder."""
    for picture in pictures:
        context = browser.new_context(
            viewport={"width": picture.width, "height": picture.height},
            color_scheme=picture.theme,
            timezone_id="Europe/Berlin",
        )
        page = context.new_page()
        page.goto(f"{url}/{picture.address}")
        wait_until_drawn(page)
        if picture.has_event:
            page.get_by_test_id("stDataFrame").click(position={"x": 100, "y": 3.5 * ROW_HEIGHT})
            expect(page.get_by_role("button", name="Close")).to_be_visible(timeout=PATIENCE_MS)
        if picture.is_whole:
            page.set_viewport_size({"width": picture.width, "height": whole_height(page)})
            wait_until_drawn(page)
        write(page.screenshot(), folder / f"{picture.name}.png")
        context.close()


def wait_until_drawn(page: Page) -> None:
    """Wait until the strip, the view and all of its charts are there."""
    expect(page.locator(".st-key-status")).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_function(DRAWN, timeout=PATIENCE_MS)
    page.wait_for_timeout(1_500)


#: Nothing runs or waits for a script, and each chart has its axes.
DRAWN = (
    "() => document.querySelector('[data-test-script-state=notRunning]')"
    " && !document.querySelector('[data-testid=stSkeleton]')"
    " && [...document.querySelectorAll('.streamapp-chart')].every(e => e.querySelector('.cartesianlayer'))"
)


def whole_height(page: Page) -> int:
    """Return the height of the screen that shows all of the view."""
    return page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")


def write(png: bytes, path: Path) -> None:
    """Write a picture as small as it gets without a change of its colours."""
    Image.open(io.BytesIO(png)).convert("RGB").save(path, optimize=True)
    sys.stdout.write(f"{path} {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
