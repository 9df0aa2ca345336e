"""The views of the page that are not the view of events, on a real MongoDB, in a real Chromium."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import Page, expect
from pymongo import MongoClient

from dashboard.model import time_window
from dashboard.model.snapshot import USUAL_NUMBERS, Filter
from dashboard.model.user_activity import ActivityQuery
from dashboard.views.controls import EVENTS, LATEST, PIPELINE, SCHEMAS, USERS, VIEWS
from dashboard.views.tables import ROW_HEIGHT
from streamapp.model import event
from tests.support.doubles.dashboard_pipeline import FakePipeline, partition, worker
from tests.support.page import (
    SOON_MS,
    choose,
    click_until,
    draw,
    faults_of,
    one_document,
    press_until,
    served,
    wait_for_refresh,
)
from tests.support.rollup_factory import insert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser
    from pymongo.database import Database

    from streamapp.local.backend import Backend

DATABASE = "page_views"
CHANCE = random.Random(5)
#: What is at the bottom of each view.
SHOWN_LAST = {
    EVENTS: "[aria-label^='Locations: '] .cartesianlayer",
    USERS: ".st-key-new_users .cartesianlayer",
    SCHEMAS: "text=The change is allowed under",
    PIPELINE: "[data-testid=stDataFrame]",
    LATEST: "[data-testid=stDataFrame]",
}
BY_PARTITION = "Waiting messages by partition"


def events_of(now: datetime) -> list[dict[str, Any]]:
    """Return events of the last quarter of an hour, of few users and places."""
    found = [one_document(CHANCE, now - timedelta(seconds=CHANCE.uniform(20, 840))) for _ in range(600)]
    for each in found:
        each["metadata"]["location"] = CHANCE.choice(["DE", "FR", "IN", "US"])
    return found


def report(database: Database[Any], now: datetime) -> None:
    """Write what workers would have written about two versions, four partitions, and dead letters."""
    database["schema_versions"].insert_many(
        {
            "_id": f"user_events-value:v{number}",
            "subject": "user_events-value",
            "version": number,
            "schema_id": number,
            "is_v2": number == 2,
            "first_seen_at": now,
            "sources": [event.schema_text(number)],
        }
        for number in (1, 2)
    )
    minutes = [now.replace(second=0, microsecond=0) - timedelta(minutes=minute) for minute in range(180)]
    for number in range(4):
        lags = [max(0, round(400 * (number + 1) * CHANCE.random() - 300)) for _ in minutes]
        history = [
            {"at": at, "lag": lag, "lag_seconds_at_most": lag / 50, "rate": 120.0 + lag / 10}
            for at, lag in zip(reversed(minutes), lags, strict=True)
        ]
        recent = [
            {
                "at": now - timedelta(seconds=ago),
                "lag": ago // 7 % 9 * number,
                "lag_seconds": ago % 7 / 2,
                "rate": 150.0,
            }
            for ago in range(600, 0, -5)
        ]
        state = partition(number, at=now + timedelta(hours=1), recent=recent, last_hour=history, last_day=history[::10])
        database["pipeline_state"].insert_one(state | {"_id": f"partition:a:{number}"})
    for name, memory in (("host-a-1", 2**27), ("host-b-1", 2**28)):
        alive = {"at": now + timedelta(hours=1), "started_at": now - timedelta(hours=5)}
        database["pipeline_state"].insert_one(worker(name, rate=310.0, memory_bytes=memory, **alive))
    level = {"kind": "subject", "subject": "user_events-value", "level": "BACKWARD", "at": now}
    database["pipeline_state"].insert_one(level | {"_id": "subject:user_events-value"})
    for reason, schemas in (
        ("undecodable", {"1": 3, "2": 9}),
        ("empty", {"none": 4}),
        ("unknown-schema-id", {"unknown": 2}),
    ):
        counted = {str(int(at.timestamp() * 1_000)): CHANCE.randint(0, 3) for at in minutes[:30]}
        sample = {"topic": "user_events", "partition": 1, "offset": 42, "schema_id": 2, "error": f"{reason}: 3 bytes"}
        database["dead_letters"].insert_one(
            {
                "_id": f"{reason}:0",
                "reason": reason,
                "n": sum(schemas.values()),
                "schemas": schemas,
                "minutes": counted,
                "last_at": now,
                "sample": sample,
            }
        )


@pytest.fixture(scope="module")
def stored(backend: Backend) -> Iterator[list[dict[str, Any]]]:
    """Return the events that the page has."""
    now = datetime.now(UTC)
    documents = events_of(now)
    with MongoClient[dict[str, Any]](backend.addresses.mongo_uri) as client:
        client.drop_database(DATABASE)
        insert(client[DATABASE], documents)
        report(client[DATABASE], now)
        yield documents
        client.drop_database(DATABASE)


@pytest.fixture(scope="module")
def url(backend: Backend, stored: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert stored
    with served(backend.addresses.mongo_uri, DATABASE, tmp_path_factory.mktemp("page")) as url:
        yield url


def bars(counted: Counter[str], n: int) -> str:
    """Return the text of a chart of values."""
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} {times:,} · {100 * times / n:.1f}%" for value, times in ranked)


def expect_figure(page: Page, name: str | re.Pattern[str]) -> None:
    expect(page.get_by_role("figure", name=name)).to_be_visible(timeout=SOON_MS)


def test_users_view_equals_a_recount(tab: Page, url: str, stored: list[dict[str, Any]]) -> None:
    """Top users, a funnel by a trial of all ways through its steps, and the users of the day."""
    window = time_window.window(time_window.range_named("1 h"), datetime.now(UTC))
    steps = ("search", "click", "purchase")
    query = ActivityQuery(window=window, filter=Filter(), steps=steps, within=timedelta(minutes=30))
    counted = FakePipeline(events=stored).activity(query, USUAL_NUMBERS)
    chosen = "".join(f"&step={step}" for step in steps)
    tab.goto(f"{url}/?view=Users&refresh=off&range=1+h{chosen}")

    top = ", ".join(f"{user} {n} · {100 * n / len(stored):.1f}%" for user, n in counted.top)
    expect_figure(tab, f"Top users: {top}.")
    of_first = [
        f"{number}. {step} {n} · {100 * n / counted.reached[0]:.1f}%"
        for number, (step, n) in enumerate(zip(steps, counted.reached, strict=True), 1)
    ]
    expect_figure(tab, f"Funnel: {', '.join(of_first)}.")
    users = {each["user_id"] for each in stored if each["event_timestamp"] >= _midnight_ms(stored)}
    expect_figure(tab, re.compile(rf"^Users of .*: {len(users)}, of whom new \d+\.$"))
    expect(tab.get_by_text(f"Counted one by one: all {len(stored)} events of the last hour.")).to_be_visible()


def _midnight_ms(stored: list[dict[str, Any]]) -> int:
    """Return when the day of the newest event began."""
    day_ms = 86_400_000
    return max(each["event_timestamp"] for each in stored) // day_ms * day_ms


def test_schemas_view_equals_a_recount(tab: Page, url: str, stored: list[dict[str, Any]]) -> None:
    """Shares, senders and users of each version; the difference of two; the level."""
    for number, version in enumerate(("v1", "v2")):
        sent = [each for each in stored if each["schema_version"] == version]
        tab.goto(f"{url}/?view=Schemas&range=1+h&sends={version}&refresh=off")

        for title, values in (
            ("Event types", Counter(each["event_type"] for each in sent)),
            ("Devices", Counter(each["metadata"]["device"] for each in sent)),
            ("Locations", Counter(each["metadata"]["location"] for each in sent)),
        ):
            expect_figure(tab, f"{title} that send {version}: {bars(values, len(sent))}.")
        users = len({each["user_id"] for each in sent})
        expect(tab.get_by_text(f"Events: {len(sent)} · users: {users}")).to_be_visible()
        assert number == 1 or "browser" not in str(sent[0].get("metadata"))
    expect(tab.get_by_text("Compatibility level of user_events-value: BACKWARD")).to_be_visible()
    expect(tab.get_by_text("+ browser: [null, string], default null")).to_be_visible()


def test_pipeline_view_opens_a_reason_and_a_day(tab: Page, url: str) -> None:
    """The error, the schema and the command of the last record; the choice is in the address."""
    tab.goto(f"{url}/?view=Pipeline&refresh=10+s")
    tab.get_by_text(re.compile("^undecodable · 12 · last")).click(timeout=SOON_MS)
    expect(tab.get_by_text("streamapp dlq show --origin user_events-1-42").first).to_be_visible()
    expect(tab.get_by_text("Schema: v2, id 2").first).to_be_visible()

    of_day = tab.get_by_role("figure", name=re.compile("^Waiting messages, last 24 h: now"))
    click_until(tab.get_by_role("radio", name="24 h"), of_day)

    expect(tab).to_have_url(re.compile(r"span=24"))
    expect(tab.get_by_role("figure", name=re.compile(f"^{BY_PARTITION}: partition 0 "))).to_be_visible()
    expect(tab.get_by_text("Schema: v2, id 2").first).to_be_visible()


def test_latest_view_finds_the_events_of_a_user(tab: Page, url: str, stored: list[dict[str, Any]]) -> None:
    """As many of each type as a recount; a link leads to one of them, and from it to all of its user."""
    one = next(each for each in stored if each["schema_version"] == "v2")
    of_user = [each for each in stored if each["user_id"] == one["user_id"]]
    tab.goto(f"{url}/?view=Latest&refresh=off&range=1+h&event={one['_id']}")
    expect(tab.get_by_text(f"+ browser = {one['browser']}, added by v2")).to_be_visible(timeout=SOON_MS)
    expect(tab.get_by_text(one["_id"])).to_be_visible()

    tab.get_by_role("button", name="Events of this user").click()

    counted = Counter(each["event_type"] for each in of_user)
    described = ", ".join(f"{name} {n}" for name, n in sorted(counted.items()))
    expect_figure(tab, f"Events of {one['user_id']} over time: {described}.")
    expect(tab.get_by_text(f"by event time: {len(of_user)} events.")).to_be_visible()
    expect(tab).to_have_url(re.compile(f"user={one['user_id']}"))


def test_click_on_a_row_shows_its_event(tab: Page, url: str, stored: list[dict[str, Any]]) -> None:
    """Anywhere in the row; the table stands still until the event is closed, and Escape closes it, too."""
    tab.goto(f"{url}/?view=Latest&range=1+h")
    newest = sorted(stored, key=lambda each: each["event_timestamp"], reverse=True)
    table = tab.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible(timeout=SOON_MS)
    wide = table.bounding_box()

    for row, x in ((1, 30), (4, 300)):
        table.click(position={"x": x, "y": ROW_HEIGHT * (row + 1.5)})
        expect(tab.get_by_text(newest[row]["_id"])).to_be_visible(timeout=SOON_MS)
        expect(tab).to_have_url(re.compile(f"event={newest[row]['_id']}"))
    narrow = table.bounding_box()
    assert wide
    assert narrow
    assert narrow["width"] < 0.7 * wide["width"]
    tab.keyboard.press("Escape")
    expect(tab.get_by_text(newest[4]["_id"])).to_have_count(0, timeout=SOON_MS)

    table.click(position={"x": 30, "y": ROW_HEIGHT * 1.5})
    tab.get_by_role("button", name="Close").click(timeout=SOON_MS)
    expect(tab.get_by_text(newest[0]["_id"])).to_have_count(0, timeout=SOON_MS)
    expect(tab).not_to_have_url(re.compile("event="))


def test_keyboard_walks_through_every_view(tab: Page, url: str, stored: list[dict[str, Any]]) -> None:
    """From view to view, and to what can be chosen in each of them."""
    assert stored
    tab.goto(f"{url}/?range=1+h&refresh=off")
    expect_figure(tab, re.compile("^Event types: "))

    choose(tab, USERS, *VIEWS)
    expect_figure(tab, re.compile("^Funnel: "))
    press_until(tab, "Steps of the funnel")
    tab.keyboard.type("search")
    tab.keyboard.press("Enter")
    # The list of values stays open.
    tab.keyboard.press("Escape")
    expect_figure(tab, re.compile("^Funnel: .*4. search"))
    choose(tab, "1 h", "30 min")
    expect(tab).to_have_url(re.compile(r"within=1\+h"), timeout=SOON_MS)

    choose(tab, SCHEMAS, *VIEWS, back=True)
    expect_figure(tab, re.compile("^Devices that send v1: "))
    choose(tab, "v2", "v1")
    expect_figure(tab, re.compile("^Devices that send v2: "))

    choose(tab, PIPELINE, *VIEWS, back=True)
    expect_figure(tab, re.compile("^Waiting messages, last 10 min: "))
    choose(tab, "1 h", "10 min")
    expect_figure(tab, re.compile("^Waiting messages, last 1 h: "))
    press_until(tab, "undecodable")
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("Schema: v2, id 2").first).to_be_visible(timeout=SOON_MS)

    choose(tab, LATEST, *VIEWS, back=True)
    expect(tab.get_by_test_id("stDataFrame").first).to_be_visible(timeout=SOON_MS)
    press_until(tab, "table")
    tab.keyboard.press("ArrowDown")
    expect(tab.get_by_role("button", name="Close")).to_be_visible(timeout=SOON_MS)
    expect(tab).to_have_url(re.compile("event="))
    press_until(tab, "Close")
    tab.keyboard.press("Enter")
    expect(tab).not_to_have_url(re.compile("event="), timeout=SOON_MS)


@pytest.mark.parametrize("view", VIEWS)
def test_kiosk_fits_a_screen(view: str, chromium: Browser, url: str, stored: list[dict[str, Any]]) -> None:
    """1920 × 1080 shows all of each view, without scrolling, also while something is wrong."""
    assert stored
    page = chromium.new_page(viewport={"width": 1920, "height": 1080})
    page.goto(f"{url}/?kiosk=true&view={view}&range=1+h")
    expect(page.get_by_text("could not be stored").first).to_be_visible(timeout=SOON_MS)
    expect(page.locator(SHOWN_LAST[view]).last).to_be_visible(timeout=SOON_MS)

    height, shown = page.evaluate(
        "() => { const e = document.querySelector('[data-testid=stMain]'); return [e.scrollHeight, e.clientHeight] }"
    )
    page.close()

    assert height <= shown


def test_kiosk_goes_on_after_a_drag_and_shows_the_named_views_in_turn(tab: Page, url: str) -> None:
    """A drag chooses no period, so the page refreshes; views come without a click."""
    tab.goto(f"{url}/?kiosk=true")
    expect_figure(tab, re.compile("^Event types: "))
    draw(tab, 0.3, 0.6)
    wait_for_refresh(tab)
    expect(tab).not_to_have_url(re.compile("from="))

    tab.goto(f"{url}/?kiosk=true&rotate=15+s&view=Users&view=Pipeline")
    for title in ("Funnel", "Workers", "Funnel"):
        expect(tab.get_by_role("heading", name=title)).to_be_visible(timeout=SOON_MS)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_views_are_for_everybody(
    theme: Literal["light", "dark"], tab: Page, url: str, stored: list[dict[str, Any]]
) -> None:
    """Axe finds nothing serious."""
    tab.emulate_media(color_scheme=theme)
    faults: dict[str, list[Any]] = {}
    first = stored[0]
    for view, title, shown in (
        ("Users", "New and returning users", "Counted one by one"),
        ("Schemas", "Dead letters by schema", "The change is allowed under"),
        ("Pipeline", "Workers", "undecodable · 12"),
        (f"Latest&event={first['_id']}&user={first['user_id']}", "Event", first["_id"]),
    ):
        tab.goto(f"{url}/?view={view}&refresh=off")
        expect(tab.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=SOON_MS)
        expect(tab.get_by_text(shown).first).to_be_visible(timeout=SOON_MS)
        faults[title] = faults_of(tab)

    assert {title: [] for title in faults} == faults
