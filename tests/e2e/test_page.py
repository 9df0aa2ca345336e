"""The page as visitors see it: `streamapp dashboard` on a real MongoDB, in a real Chromium."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import Page, expect
from pymongo import MongoClient

from streamapp.local import mongod, programs
from tests.support.doubles.dashboard_reader import document, v1
from tests.support.page import (
    CHARTS,
    COMMAND,
    SOON_MS,
    card,
    choose_refresh,
    click_until,
    draw,
    expect_range,
    expect_total,
    faults_of,
    free_port,
    kpi,
    kpis,
    opened,
    recount,
    served,
    some_documents,
    wait_for_refresh,
)
from tests.support.rollup_factory import insert
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser
    from pymongo.collection import Collection

    from streamapp.local.backend import Backend
    from streamapp.local.process import Server

DATABASE = "page"
SHOWN_BY = {"Pipeline": "Waiting messages by partition", "Latest": "by event time: "}


def readyz(url: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of /readyz, which comes within a second."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=1) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


@pytest.fixture(scope="module")
def url(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(backend.addresses.mongo_uri, DATABASE, tmp_path_factory.mktemp("page")) as url:
        yield url


@pytest.fixture
def events(backend: Backend) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](backend.addresses.mongo_uri) as client:
        client.drop_database(DATABASE)
        yield client[DATABASE]["events"]


@pytest.fixture(scope="module")
def lone_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """Return a MongoDB that a test may stop, and its connection string."""
    port = free_port()
    folder = tmp_path_factory.mktemp("mongod")
    server = mongod.server(program=programs.mongod(None), folder=folder, port=port)
    server.start()
    yield server, mongod.uri(port)
    server.stop()


@pytest.fixture(scope="module")
def lone_url(lone_mongod: tuple[Server, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the page on the MongoDB that a test may stop; it holds three events."""
    _, uri = lone_mongod
    with MongoClient[dict[str, Any]](uri) as client:
        insert(client[DATABASE], [document(datetime.now(UTC)) for _ in range(3)])
    with served(uri, DATABASE, tmp_path_factory.mktemp("page")) as url:
        yield url


def test_page_tells_what_is_stored(tab: Page, url: str, events: Collection[dict[str, Any]], tmp_path: Path) -> None:
    """Every KPI equals a recount, every chart is drawn, and a new event is seen within an interval."""
    documents = some_documents(4_000)
    insert(events.database, documents)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))

    page = opened(tab, url)

    counted = recount(documents)
    for label, (value, beside) in counted.items():
        expect(card(page, label).get_by_test_id("stMetricValue")).to_have_text(value, timeout=SOON_MS)
        expect(card(page, label).get_by_test_id("stMetricDeltaDescription")).to_have_text(beside)
    for title in CHARTS:
        expect(page.get_by_role("heading", name=title)).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)
    expect(page.get_by_text("Event time (Europe/Berlin)").first).to_be_visible()
    expect(page.get_by_text("n/a (v1)", exact=True)).to_be_visible()

    documents.append(document(datetime.now(UTC)))
    insert(events.database, documents[-1:])

    expect_total(page, recount(documents)["Total events"][0])
    page.screenshot(path=tmp_path / "page.png")
    assert [] == [address for address in asked if not address.startswith((url, "data:", "blob:"))]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_for_everybody(
    theme: Literal["light", "dark"], tab: Page, url: str, events: Collection[dict[str, Any]]
) -> None:
    """Charts have text alternatives, and axe finds nothing serious: contrast, names, order of headings."""
    tab.emulate_media(color_scheme=theme)
    insert(events.database, some_documents(100))
    page = opened(tab, url)
    reported = page.get_by_role(
        "figure", name=re.compile(r"Events over time: \d+ in the last 15 minutes, v1 \d+, v2 \d+; most in")
    )
    expect(reported).to_be_visible(timeout=SOON_MS)

    faults = {"Events": faults_of(page)}
    for view in ("Pipeline", "Latest"):
        control = page.get_by_role("radio", name=view).or_(page.get_by_role("button", name=view)).first
        click_until(control, page.get_by_text(SHOWN_BY[view]).first)
        faults[view] = faults_of(page)

    assert {"Events": [], "Pipeline": [], "Latest": []} == faults


def test_refresh_can_be_turned_off(chromium: Browser, tab: Page, url: str, events: Collection[dict[str, Any]]) -> None:
    """While another visitor's page goes on, this one stays as it is; turned on again, it catches up."""
    insert(events.database, [document(datetime.now(UTC))])
    still, lively = opened(tab, url), opened(chromium.new_page(), url)
    expect_total(still, "1")
    choose_refresh(still, "off")

    insert(events.database, [document(datetime.now(UTC))])
    expect_total(lively, "2")
    seen = kpi(still, "Total events")  # 1, or 2 if a refresh was on its way when the control was used
    insert(events.database, [document(datetime.now(UTC))])
    expect_total(lively, "3")

    assert seen == kpi(still, "Total events") != ("3", "3 all time")
    choose_refresh(still, "10 s")
    expect_total(still, "3")
    lively.close()


def test_first_event_appears_by_itself(tab: Page, url: str, events: Collection[dict[str, Any]]) -> None:
    """Without a database the page says how to make events, and then shows them."""
    page = opened(tab, url)
    expect(page.get_by_text("No events yet")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_text("streamapp send-sample --count 100")).to_be_visible()
    assert ("0", "0 all time") == kpi(page, "Total events")

    insert(events.database, [document(datetime.now(UTC))])

    expect_total(page, "1")
    expect(page.get_by_text("No events yet")).to_have_count(0)


def test_range_is_by_event_time_and_stays_in_the_address(
    tab: Page, url: str, events: Collection[dict[str, Any]]
) -> None:
    """An event of yesterday is not in the last 15 minutes, and is in the last 7 days."""
    insert(events.database, [document(datetime.now(UTC) - timedelta(days=1), received_at=datetime.now(UTC))])
    page = opened(tab, url)
    expect(page.get_by_text("No events in the last 15 minutes")).to_be_visible(timeout=SOON_MS)

    page.get_by_role("radio", name="7 d").or_(page.get_by_role("button", name="7 d")).first.click()

    expect_total(page, "1")
    page.reload()
    expect_total(page, "1")


def test_filter_and_period_stay_in_the_address(tab: Page, url: str, events: Collection[dict[str, Any]]) -> None:
    """A link with a filter, and a box drawn over the chart: both outlive a reload; one step leads back to now."""
    now = datetime.now(UTC)
    old = [document(now - timedelta(minutes=minutes), browser="edge") for minutes in (10, 9, 8)]
    insert(events.database, [*old, document(now, browser="edge"), document(now), v1(now)])
    page = opened(tab, f"{url}/?browsers=edge&range=1+h&refresh=10+s")
    expect_total(page, "4")
    expect_range(page, "1 h", refresh="10 s")

    draw(page, 0.7, 0.9)

    expect_total(page, "3")
    expect(page).to_have_url(re.compile(r"browsers=edge.*from=\d+&to=\d+"))
    expect_range(page, None, refresh="off")
    page.reload()
    expect_total(page, "3")
    page.get_by_role("button", name="Back to the last hour").click()
    expect_total(page, "4")
    expect_range(page, "1 h", refresh="10 s")
    page.go_back()
    expect_total(page, "3")
    page.go_back()
    expect_total(page, "4")
    page.go_forward()
    expect_total(page, "3")
    page.get_by_role("radio", name="15 min").click()
    expect_total(page, "4")
    expect_range(page, "15 min", refresh="10 s")
    page.go_back()
    expect_total(page, "3")
    expect_range(page, None, refresh="off")


def test_refresh_disturbs_nobody(tab: Page, url: str, events: Collection[dict[str, Any]]) -> None:
    """Charts are the same elements with new data, and filter, range and what is open are left alone."""
    insert(events.database, [document(datetime.now(UTC)), v1(datetime.now(UTC))])
    page = opened(tab, f"{url}/?range=90+d&versions=v2")
    expect(page.locator(".js-plotly-plot .cartesianlayer")).to_have_count(len(CHARTS), timeout=SOON_MS)
    page.get_by_role("button", name="Filters (1)").click()
    page.evaluate("document.querySelectorAll('.js-plotly-plot').forEach(chart => { chart.dataset.kept = 'yes' })")

    for _ in range(2):
        insert(events.database, [document(datetime.now(UTC))])
        wait_for_refresh(page)

    expect_total(page, "3")
    assert len(CHARTS) == page.locator(".js-plotly-plot[data-kept=yes]").count()
    expect(page.get_by_text("Event type", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"range=90\+d.*versions=v2"))


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_outage_is_told_and_ends_by_itself(how: str, tab: Page, lone_url: str, lone_mongod: tuple[Server, str]) -> None:
    """The last numbers stay, marked with their time; nothing becomes 0."""
    server, _ = lone_mongod
    page = opened(tab, lone_url)
    expect_total(page, "3")
    # After an outage, the first ping may only find out that it is over.
    until(lambda: readyz(lone_url) == (200, {"ready": True, "mongodb": "ok"}), what="a green /readyz")

    server.stop() if how == "stopped" else server.pause()

    notice = page.get_by_role("alert").filter(has_text="Disconnected")
    expect(notice).to_contain_text(re.compile(r"from \d\d:\d\d:\d\d Europe/Berlin"), timeout=SOON_MS)
    assert ("3", "3 all time") == kpi(page, "Total events")
    assert 503 == readyz(lone_url)[0]

    server.start() if how == "stopped" else server.resume()

    expect(notice).to_have_count(0, timeout=SOON_MS)
    expect_total(page, "3")


def test_page_without_mongodb_says_unknown(tab: Page, tmp_path: Path) -> None:
    """What was never read is not 0, and the password in the connection string is nowhere."""
    uri = f"mongodb://someone:hunter2@127.0.0.1:{free_port()}/"
    with served(uri, "streaming_db", tmp_path) as url:
        page = opened(tab, url)

        assert {"unknown"} == {value for value, _ in kpis(page).values()}
        expect(page.get_by_role("alert")).to_contain_text("STREAMAPP_MONGO_URI")
        assert "hunter2" not in page.content() + str(readyz(url))
    assert "hunter2" not in (tmp_path / "page.log").read_text()


def test_taken_port_is_wrong_usage(tmp_path: Path) -> None:
    """Exit 2, naming the flag."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    assert 2 == done.returncode
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr
