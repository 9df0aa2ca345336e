"""Every state of the page, run by Streamlit without a browser."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.feed import Feed
from dashboard.trouble import Disconnected, Refused, TooSlow
from tests.dashboard_fakes import NOON, FakeReader, document, v1

if TYPE_CHECKING:
    from collections.abc import Callable

TITLES = ["Events over time", "Event types", "Browsers", "Devices"]


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    from dashboard.views import page  # noqa: PLC0415 - Streamlit runs this function's text as a script of its own

    page.show(feed)


def opened(reader: FakeReader, clock: Callable[[], datetime] = lambda: NOON) -> AppTest:
    app = AppTest.from_function(script, args=(Feed(reader=reader, clock=clock),), default_timeout=20).run()
    assert not app.exception
    return app


def kpis(app: AppTest) -> dict[str, tuple[str, str]]:
    return {metric.label: (metric.value, metric.delta) for metric in app.metric}


def notice(app: AppTest) -> str:
    return " ".join(element.value for element in (*app.info, *app.warning, *app.error))


def test_kpis_and_charts_of_the_range() -> None:
    """Four numbers, four charts, nothing to be warned of."""
    long_ago = document(NOON - timedelta(days=40))
    reader = FakeReader([long_ago, document(), document(user_id="user-2", event_type="search"), document(), v1()])

    app = opened(reader)

    assert {
        "Total events": ("4", "5 all time"),
        "Unique users": ("2", "in the last 15 minutes"),
        "V2 adoption": ("75.0%", "3 of 4"),
        "Main action": ("click", "75.0% of events"),
    } == kpis(app)
    assert TITLES == [heading.value for heading in app.header]
    assert 4 == len(app.get("plotly_chart"))
    assert "" == notice(app)


def test_totals_are_full_digits() -> None:
    """The same in every browser's locale, because they are texts."""
    app = opened(FakeReader([document() for _ in range(1_234)]))

    assert "1,234" == kpis(app)["Total events"][0]


def test_nothing_stored_says_how_to_make_events() -> None:
    """The first minute of a new user."""
    app = opened(FakeReader())

    assert "No events yet" in notice(app)
    assert ["streamapp send-sample --count 100"] == [code.value for code in app.code]
    assert {"Total events": "0", "Unique users": "0", "V2 adoption": "–", "Main action": "–"} == {
        label: value for label, (value, _) in kpis(app).items()
    }


def test_nothing_in_range_says_where_the_newest_event_is() -> None:
    """Events there are, but older than the range."""
    app = opened(FakeReader([document(NOON - timedelta(hours=3))]))

    assert "No events in the last 15 minutes" in notice(app)
    assert "09:00:30 UTC, 3 h ago" in notice(app)
    assert ("0", "1 all time") == kpis(app)["Total events"]
    assert "–" == kpis(app)["V2 adoption"][0]


def test_range_is_chosen_by_button() -> None:
    """Three hours ago is within 6 hours."""
    app = opened(FakeReader([document(NOON - timedelta(hours=3))]))

    app.button_group(key="range").set_value("6 h").run()

    assert ("1", "1 all time") == kpis(app)["Total events"]


def test_range_is_chosen_by_address() -> None:
    """A link keeps what was looked at."""
    feed = Feed(reader=FakeReader([document(NOON - timedelta(hours=3))]), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=20)
    app.query_params["range"] = "6 h"

    app.run()

    assert "1" == kpis(app)["Total events"][0]


def test_refresh_can_be_turned_off() -> None:
    """The control is named for what it does."""
    app = opened(FakeReader([document()]))

    app.toggle(key="refresh").set_value(v=False).run()

    assert not app.exception
    assert "refresh" in app.toggle(key="refresh").label.lower()


def test_outage_from_the_start_shows_unknown_never_zero() -> None:
    """What was not read is not 0."""
    reader = FakeReader()
    reader.trouble = Disconnected("MongoDB at db:27017 does not answer.")

    app = opened(reader)

    assert {"unknown"} == {value for value, _ in kpis(app).values()}
    assert "all time unknown" == kpis(app)["Total events"][1]
    assert "Disconnected" in notice(app)
    assert "streamapp up" in notice(app)


def test_outage_keeps_the_last_numbers_with_their_time() -> None:
    """Marked as what they are: old."""
    reader, times = FakeReader([document()]), [NOON]
    app = opened(reader, lambda: times[-1])
    reader.trouble = Disconnected("MongoDB at db:27017 does not answer.")
    times.append(NOON + timedelta(seconds=42))

    app.run()

    assert "as of **12:00:30 UTC**, 42 s ago" in notice(app)
    assert "1" == kpis(app)["Total events"][0]
    assert 4 == len(app.get("plotly_chart"))


def test_query_limit_is_told() -> None:
    """The range is unknown, the total is not."""
    reader = FakeReader([document()])
    reader.trouble_of_counts = TooSlow("The query to MongoDB at db:27017 took longer than 2 s and was stopped.")

    app = opened(reader)

    assert "longer than 2 s" in app.warning[0].value
    assert ("unknown", "1 all time") == kpis(app)["Total events"]


def test_refusal_is_told() -> None:
    """A wrong password is not an outage that ends by itself."""
    reader = FakeReader()
    reader.trouble = Refused("MongoDB at db:27017 refuses to be read: AuthenticationFailed.")

    assert "AuthenticationFailed" in notice(opened(reader))


@pytest.mark.parametrize(
    ("name", "shown"), [("add_to_cart", "add_to_cart"), ("**bold** :cat:", r"\*\*bold\*\* \:cat\:")]
)
def test_main_action_is_never_read_as_markdown(name: str, shown: str) -> None:
    """Event types come from whoever sends events."""
    assert shown == kpis(opened(FakeReader([document(event_type=name)])))["Main action"][0]


def test_wrong_setting_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens the page sees which one, instead of a traceback."""
    monkeypatch.setenv("STREAMAPP_MONGO_DATABASE", "a.b")

    app = AppTest.from_file(str(Path(dashboard.__file__).with_name("app.py")), default_timeout=20).run()

    assert not app.exception
    assert "STREAMAPP_MONGO_DATABASE" in notice(app)


def test_event_from_the_future_is_told() -> None:
    """A clock is wrong, here or where the event was made."""
    app = opened(FakeReader([document(NOON + timedelta(hours=2))]))

    assert "14:00:30 UTC, ahead of this clock" in notice(app)
