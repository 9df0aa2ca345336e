"""What visitors do with the page, with pointer and keyboard, and how it looks meanwhile: in a real Chromium."""

from __future__ import annotations

import base64
import io
import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from PIL import Image
from playwright.sync_api import expect
from pymongo import MongoClient

from dashboard.model.figures import BAR_HEIGHT, BARS_PADDING
from dashboard.views.controls import VIEWS
from streamapp.local import mongod, programs
from tests.support.doubles.dashboard_reader import document, v1
from tests.support.page import (
    CHARTS,
    SOON_MS,
    expect_range,
    expect_total,
    faults_of,
    free_port,
    opened,
    press_until,
    served,
    some_documents,
    wait_for_refresh,
)
from tests.support.rollup_factory import insert
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page
    from pymongo.collection import Collection

DATABASE = "page"
IS_LONG = bool(os.environ.get("STREAMAPP_TEST_LONG"))
FILM_SECONDS = 60
#: Height of the film, in pixels: all charts are on it, and the page can be scrolled.
TALL = 1_000
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (390, 1024, 1440, 1920) if IS_LONG else (390, 1024)
HEIGHTS = {390: 844, 1024: 768, 1440: 900, 1920: 1080}


@pytest.fixture(scope="module")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    server = mongod.server(program=programs.mongod(None), folder=tmp_path_factory.mktemp("mongod"), port=port)
    server.start()
    yield mongod.uri(port)
    server.stop()


@pytest.fixture(scope="module")
def url(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(mongo_uri, DATABASE, tmp_path_factory.mktemp("page")) as url:
        yield url


@pytest.fixture
def events(mongo_uri: str) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(DATABASE)
        yield client[DATABASE]["events"]


def various(n: int) -> list[dict[str, Any]]:
    """Return n events for each of 3 types, 2 devices and 2 locations of the last minutes."""
    at = datetime.now(UTC) - timedelta(minutes=3)
    return [
        document(at, event_type=event_type, metadata={"device": device, "location": location})
        for event_type in ("click", "search", "<b>not given")
        for device in ("mobile", "tablet")
        for location in ("DE", "FR")
        for _ in range(n)
    ]


def chart(page: Page, name: str) -> Locator:
    return page.get_by_role("figure", name=re.compile(f"^{name}: "))


def click_row(page: Page, name: str, row: int) -> None:
    """Click the number of a row of a bar chart, from the top."""
    expect(chart(page, name).locator(".cartesianlayer")).to_be_visible(timeout=SOON_MS)
    box = chart(page, name).bounding_box()
    assert box
    chart(page, name).click(position={"x": box["width"] - 20, "y": BARS_PADDING / 2 + BAR_HEIGHT * (row + 0.5)})


def chips(page: Page) -> Locator:
    return page.locator(".st-key-chips button")


def test_click_on_a_bar_filters_and_each_choice_is_one_step_back(
    tab: Page, url: str, events: Collection[dict[str, Any]]
) -> None:
    """Labels of one dimension are alternatives, dimensions are conditions; chips show them, × removes them."""
    insert(events.database, various(5))
    page = opened(tab, url)
    expect_total(page, "60")

    click_row(page, "Devices", 1)
    expect_total(page, "30")
    click_row(page, "Locations", 0)
    expect_total(page, "15")
    expect(page).to_have_url(re.compile(r"devices=tablet&locations=DE"))
    expect(chips(page)).to_have_text([re.compile("Device: tablet"), re.compile("Location: DE")])
    click_row(page, "Event types", 0)
    expect_total(page, "5")
    expect(chips(page).last).to_have_text(re.compile(r"Location: DE"))

    page.go_back()
    expect_total(page, "15")
    page.go_back()
    expect_total(page, "30")
    page.get_by_role("button", name=re.compile("Device: tablet")).click()
    expect_total(page, "60")
    page.goto(f"{url}/?types=click&types=search&devices=tablet&locations=FR&locations=DE")
    expect_total(page, "20")
    # The only entry of the legend.
    page.locator(".legendtoggle").first.click()
    expect(page).to_have_url(re.compile("versions=v2"))
    expect_total(page, "20")


def test_keyboard_alone_is_enough(tab: Page, url: str, events: Collection[dict[str, Any]]) -> None:
    """Every control has its turn in the order in which it is shown, and works by key: filters, period, views."""
    now = datetime.now(UTC)
    insert(events.database, [*various(5), v1(now - timedelta(hours=3))])
    page = opened(tab, url)
    expect_total(page, "60")

    press_until(page, "Filters")
    page.keyboard.press("Enter")
    press_until(page, "Location")
    page.keyboard.type("FR")
    page.keyboard.press("Enter")
    expect_total(page, "30")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")

    press_until(page, "Location: FR")
    page.keyboard.press("Enter")
    expect_total(page, "60")

    press_until(page, "Time", back=True)
    page.keyboard.press("Enter")
    press_until(page, "Show this period")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    expect_range(page, None, refresh="off")

    press_until(page, "Back to the last 15 minutes", back=True)
    page.keyboard.press("Enter")
    expect_range(page, "15 min", refresh="5 s")


@pytest.mark.skipif(not IS_LONG, reason="it films the page for a minute: set STREAMAPP_TEST_LONG=1")
@pytest.mark.timeout(900)
def test_no_frame_is_blank(tab: Page, url: str, events: Collection[dict[str, Any]]) -> None:
    """While events arrive, at a refresh every 5 s: each chart is drawn in every frame, in the same elements."""
    insert(events.database, some_documents(1_000))
    tab.set_viewport_size({"width": 1280, "height": TALL})
    page = opened(tab, url)
    expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)
    wait_for_refresh(page)
    page.evaluate("document.querySelectorAll('.js-plotly-plot').forEach(chart => { chart.dataset.kept = 'yes' })")
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollBy(0, 100)")
    pointed = chart(page, "Event types")
    pointed.hover(position={"x": 150, "y": 20})
    expect(pointed.locator(".hovertext")).to_be_visible()
    scrolled = page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop")

    frames = film(page, FILM_SECONDS, lambda: insert(events.database, some_documents(20)))

    boxes = [box for box in page.evaluate(BOXES) if 0 <= box["top"] <= TALL - 100]
    assert len(CHARTS) == len(boxes)
    assert len(frames) >= FILM_SECONDS / 5
    for box in boxes:
        drawn = [ink(frame, box) for frame in frames]
        assert min(drawn) > 0.5 * max(drawn)
    assert len(CHARTS) == page.locator(".js-plotly-plot[data-kept=yes]").count()
    expect(pointed.locator(".hovertext")).to_be_visible()
    assert 0 < scrolled == page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop")


BOXES = "() => [...document.querySelectorAll('.js-plotly-plot')].map(e => e.getBoundingClientRect().toJSON())"


def film(page: Page, seconds: float, between: Any) -> list[Image.Image]:
    """Return the frames that Chromium shows; it sends one whenever something has changed."""
    session = page.context.new_cdp_session(page)
    frames: list[str] = []

    def keep(frame: dict[str, Any]) -> None:
        frames.append(frame["data"])
        session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "png"})
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        between()
        page.wait_for_timeout(1_000)
    session.send("Page.stopScreencast")
    return [Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in frames]


def ink(frame: Image.Image, box: dict[str, float]) -> int:
    """Return how many pixels of a part of a frame do not have the colour of its background."""
    left, top, right, bottom = (int(box[edge]) for edge in ("left", "top", "right", "bottom"))
    part = frame.crop((left, top, right, min(bottom, frame.height)))
    shades = part.convert("L").histogram()
    return sum(shades) - max(shades)


def test_charts_are_drawn_again_only_where_they_are_seen(
    tab: Page, url: str, events: Collection[dict[str, Any]]
) -> None:
    """One below the screen has its new data when it comes there, or when it is printed."""
    insert(events.database, various(1))
    tab.set_viewport_size({"width": 1024, "height": 500})
    page = opened(tab, url)
    expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)
    below = chart(page, "Locations")
    # The first numbers can be up to two seconds old: wait where the chart is seen.
    below.scroll_into_view_if_needed()
    expect_drawn(below, 12)
    chart(page, "Events over time").scroll_into_view_if_needed()
    assert (below.bounding_box() or {"y": 0})["y"] > 500

    insert(events.database, various(2))

    expect_total(page, "36")
    assert 12 == below.evaluate(DRAWN)
    chart(page, "Events over time").scroll_into_view_if_needed()
    expect_drawn(chart(page, "Events over time"), 36)
    below.scroll_into_view_if_needed()
    expect_drawn(below, 36)

    chart(page, "Events over time").scroll_into_view_if_needed()
    insert(events.database, various(1))
    expect_total(page, "48")
    assert 36 == below.evaluate(DRAWN)
    page.pdf()
    assert 48 == below.evaluate(DRAWN)


#: The sum of what the bars of a chart show.
DRAWN = """chart => chart.data.filter(({ type }) => type === "bar").flatMap(bars =>
    [...(bars.orientation === "h" ? bars.x : bars.y)]).reduce((sum, n) => sum + n, 0)"""


def expect_drawn(drawn: Locator, total: int) -> None:
    until(lambda: drawn.evaluate(DRAWN) == total, what=f"{total} in the chart")


@pytest.mark.parametrize("answer", [None, "<p>Please log in</p>"], ids=["no answer", "a page of a proxy"])
def test_charts_are_drawn_after_a_fault_of_the_network(
    answer: str | None, tab: Page, url: str, events: Collection[dict[str, Any]]
) -> None:
    """Plotly cannot be loaded at first; the page tries again."""
    insert(events.database, various(1))
    bundle = "**/plotly-basic.min.js"
    tab.route(bundle, lambda route: route.fulfill(body=answer) if answer else route.abort())
    page = opened(tab, url)
    wait_for_refresh(page)
    expect(page.locator(".cartesianlayer")).to_have_count(0)

    tab.unroute(bundle)

    expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)


def test_page_is_light_and_does_not_move(chromium: Browser, url: str, events: Collection[dict[str, Any]]) -> None:
    """Less than 3 MB, and a cumulative layout shift of 0.1 at most, on a screen and on a phone."""
    insert(events.database, some_documents(1_000))
    for width in (1440, 390):
        context = chromium.new_context(viewport={"width": width, "height": HEIGHTS[width]})
        page = context.new_page()
        page.add_init_script(SHIFTS)
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        sizes: list[int] = []
        session.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        opened(page, url)
        expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)
        wait_for_refresh(page)

        assert page.evaluate("shifts") <= 0.1
        assert sum(sizes) <= 3_000_000
        context.close()


def test_page_is_wide_before_its_script_has_run(tab: Page, url: str) -> None:
    """On a slow computer it would begin narrow, and all that is there by then would move."""
    tab.route_web_socket("**/_stcore/stream", lambda _: None)
    tab.set_viewport_size({"width": 1440, "height": 900})
    tab.goto(url)

    container = tab.locator(".stMainBlockContainer")
    expect(container).to_be_attached(timeout=SOON_MS)
    assert {"x": 0, "width": 1440} == {edge: (container.bounding_box() or {})[edge] for edge in ("x", "width")}


SHIFTS = (
    "window.shifts = 0;"
    "new PerformanceObserver(list => list.getEntries().forEach(entry => window.shifts += entry.value))"
    ".observe({ type: 'layout-shift', buffered: true })"
)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_view_fits_and_is_for_everybody(
    width: int, chromium: Browser, url: str, events: Collection[dict[str, Any]]
) -> None:
    """At every width, light and dark: nothing is cut, axe finds nothing, and the first screen has charts."""
    insert(events.database, some_documents(500))
    found: dict[str, Any] = {}
    context = chromium.new_context(viewport={"width": width, "height": HEIGHTS[width]}, timezone_id="Europe/Berlin")
    page = context.new_page()
    for view in VIEWS:
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.goto(f"{url}/?view={view}")
            expect(page.locator(".st-key-status")).to_be_visible(timeout=SOON_MS)
            if view == VIEWS[0]:
                expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)
                assert page.evaluate(BOXES)[0]["top"] < HEIGHTS[width] - 100
            found[f"{view}, {theme}"] = faults_of(page)
            assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    context.close()

    assert not [*filter(None, found.values())], found
