"""Every state of the view of the users, run by Streamlit without a browser."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from streamlit.testing.v1 import AppTest

from dashboard.data.feed import Feed
from dashboard.model.errors import DisconnectedError
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    Documents = Sequence[dict[str, Any]]


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    from dashboard.views import page  # noqa: PLC0415 - likewise

    page.show(feed)


def opened(events: Documents, **parameters: str | list[str]) -> tuple[AppTest, FakePipeline]:
    """Return the page at the view of the users."""
    pipeline = FakePipeline(events=events)
    feed = Feed(pipeline=pipeline, reader=FakeReader(events), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    for name, value in {"view": "Users", "zone": "UTC", **parameters}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app, pipeline


def text(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info, *app.warning))


def charts(app: AppTest) -> str:
    return "\n".join(str(each.proto) for each in app.get("bidi_component"))


def did(user: str, *types: str) -> Documents:
    """Return the events of a user, a minute apart."""
    first = NOON - timedelta(minutes=len(types))
    return [
        document(first + timedelta(minutes=number), user_id=user, event_type=name) for number, name in enumerate(types)
    ]


EVENTS = [
    *did("user-1", "page_view", "add_to_cart", "purchase"),
    *did("user-2", "page_view", "purchase"),
    *did("user-3", "add_to_cart"),
    document(NOON - timedelta(days=1), user_id="user-3"),
]


def test_users_of_the_range() -> None:
    """Who did most, how many did the steps of the funnel, and how many came for the first time."""
    app, _ = opened(EVENTS)

    assert ["Top users", "Funnel", "New and returning users"] == [heading.value for heading in app.header]
    assert "Counted one by one: all 6 events of the last 15 minutes." in text(app)
    assert "Top users: user-1 3" in charts(app)
    assert "Funnel: 1. page_view 2" in charts(app)
    assert "2. add_to_cart 1" in charts(app)
    assert "Users of 01 Mar 2026: 3, of whom new 2." in charts(app)


def test_steps_and_their_time_are_chosen() -> None:
    """In the order in which they are chosen; the address keeps them."""
    app, _ = opened(EVENTS)

    app.multiselect(key="step").set_value(["page_view", "purchase"]).run()
    app.button_group(key="within").set_value("1 h").run()

    assert not app.exception
    assert "2. purchase 2" in charts(app)
    assert "users that did these steps in order, within 1 h" in text(app)
    assert ["page_view", "purchase"] == app.query_params["step"]


def test_one_step_is_no_funnel() -> None:
    """The page says what to do."""
    app, _ = opened(EVENTS, step="purchase")

    assert "Choose two to five event types." in text(app)


def test_filter_holds_for_users_too() -> None:
    """Not for the users of a day, whose sketches have no values."""
    app, _ = opened(EVENTS, types="purchase")

    assert "all 2 events" in text(app)
    assert "Users of 01 Mar 2026: 3" in charts(app)


def test_part_of_the_events_is_counted_where_there_are_too_many() -> None:
    """The page says which."""
    pipeline = FakePipeline(events=EVENTS)
    pipeline.most_read = 2
    feed = Feed(pipeline=pipeline, reader=FakeReader(EVENTS), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    app.query_params["view"], app.query_params["zone"] = "Users", "UTC"
    app.run()

    assert not app.exception
    assert "Counted one by one: 2 events of the last 15 minutes, those after 11:59:30 UTC." in text(app)
    assert "1 to 5" in charts(app)


def test_no_events() -> None:
    """As in the view of events."""
    app, _ = opened([])

    assert "No events yet" in text(app)
    assert ["New and returning users"] == [heading.value for heading in app.header]


def test_estimates_are_named() -> None:
    """Beyond the number of users that a sketch counts exactly."""
    app, _ = opened([document(NOON - timedelta(days=n % 2), user_id=f"user-{n}") for n in range(400)])

    assert "Estimates by sketches; the bounds are in the tooltips." in text(app)


def test_outage_keeps_what_was_read() -> None:
    """Marked as such."""
    app, pipeline = opened(EVENTS)
    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")
    app.run()

    assert not app.exception
    assert "Data below was read before." in text(app)
    assert "Top users: user-1 3" in charts(app)

    first, _ = opened([])
    assert "Data below was read before." not in text(first)
