"""Every state of the view of single events, run by Streamlit without a browser."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from streamlit.testing.v1 import AppTest

from dashboard.data.feed import Feed
from dashboard.model.errors import DisconnectedError
from dashboard.model.schema_versions import SchemaState
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document, v1
from tests.unit.dashboard.test_schemas_view import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    Documents = Sequence[dict[str, Any]]

OUTAGE = DisconnectedError("MongoDB at somewhere does not answer.")


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    from dashboard.views import page  # noqa: PLC0415 - likewise

    page.show(feed)


def opened(events: Documents, pipeline: FakePipeline | None = None, **parameters: str) -> tuple[AppTest, FakePipeline]:
    """Return the page at the view of single events."""
    pipeline = pipeline or FakePipeline(events=events)
    feed = Feed(pipeline=pipeline, reader=FakeReader(events), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    for name, value in {"view": "Latest", "zone": "UTC", **parameters}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app, pipeline


def rows(app: AppTest, column: str) -> list[Any]:
    return app.dataframe[0].value[column].tolist()


def text(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info, *app.warning))


def select(app: AppTest, *selected: int) -> AppTest:
    """Select a cell of rows as a click does, whose callback the test must run itself."""
    app.session_state[f"latest {app.session_state['latest_table']}"] = {
        "selection": {"rows": [], "columns": [], "cells": [(row, "user") for row in selected]}
    }
    app.query_params["event"] = [app.session_state["latest_found"].rows[row]["_id"] for row in selected]
    return app.run()


EVENTS = [
    document(NOON - timedelta(minutes=2), user_id="user-2", event_type="search"),
    v1(NOON - timedelta(seconds=1, milliseconds=877), metadata={"device": "tablet", "location": "FR"}),
    document(NOON - timedelta(days=2)),
]


def test_events_of_the_range_are_by_event_time() -> None:
    """The newest first, with milliseconds, device and location."""
    app, _ = opened(EVENTS)

    assert ["12:00:28.123", "11:58:30.000"] == rows(app, "event time")
    assert ["tablet", "mobile"] == rows(app, "device")
    assert ["FR", "DE"] == rows(app, "location")
    assert ["–", "firefox"] == rows(app, "browser")
    assert "The last 15 minutes, by event time: 2 events. Times are UTC." in text(app)


def test_events_are_filtered_by_value_and_user() -> None:
    """By the filters of the page, and by a field for the user; both are in the address."""
    assert ["user-1"] == rows(opened(EVENTS, locations="FR")[0], "user")
    assert ["user-2"] == rows(opened(EVENTS, user="user-2")[0], "user")

    app, _ = opened(EVENTS)
    app.text_input(key="user").set_value("user-2").run()

    assert ["user-2"] == rows(app, "user")
    assert "user-2" in app.query_params["user"]
    app.text_input(key="user").set_value("").run()
    assert 2 == len(rows(app, "user"))


def test_events_of_a_user_are_a_timeline() -> None:
    """A row for each event type."""
    app, _ = opened(EVENTS, user="user-1")

    assert "Timeline" in [heading.value for heading in app.header]
    assert "Events of user-1 over time: click 1." in str(app.get("bidi_component")[0].proto)


def test_events_as_they_were_stored() -> None:
    """Range and filters do not apply, and values of unexpected types are shown."""
    odd = document(event_timestamp=-(10**30), received_at=None, kafka=None, browser=None, metadata=7)
    pipeline = FakePipeline(events=[*EVENTS, odd])

    app, _ = opened(EVENTS, pipeline, order="as stored", locations="FR", user="user-1")

    assert ["unknown", "2026-02-27 12:00:30.000"] == rows(app, "event time")[:2]
    assert (4, "–", "?:?") == (len(rows(app, "device")), rows(app, "device")[0], rows(app, "partition:offset")[0])
    assert "the range and the filters do not apply" in text(app)
    assert "Timeline" not in [heading.value for heading in app.header]


def test_no_event_and_no_match_and_no_answer_are_not_the_same() -> None:
    """Only the last is an error."""
    assert "No event has been stored yet." in text(opened([])[0])
    assert "No event of the last 15 minutes matches." in text(opened(EVENTS, user="nobody")[0])
    assert "No event has been stored yet." in text(opened([], order="as stored")[0])

    pipeline = FakePipeline(events=EVENTS)
    pipeline.error = OUTAGE
    app, _ = opened(EVENTS, pipeline)
    assert "does not answer." in text(app)
    assert [] == [*app.dataframe]


def test_a_search_that_did_not_reach_the_end_can_go_on() -> None:
    """With the period before the last event that was searched."""
    pipeline = FakePipeline(events=EVENTS)
    pipeline.most_searched = 1

    app, _ = opened(EVENTS, pipeline, user="user-2")
    assert "Only the events after 11:58:30 UTC were searched" in text(app)

    app.button(key="search_before").click().run()

    assert not app.exception
    assert ["user-2"] == rows(app, "user")
    assert "Only the events after" not in text(app)


def test_more_events_than_the_table_shows() -> None:
    """The caption says so."""
    app, _ = opened([document() for _ in range(101)])

    assert "by event time: the newest 100 of them." in text(app)
    assert 100 == len(rows(app, "user"))


def test_selected_row_shows_its_whole_document_and_stands_still() -> None:
    """Though newer events come, until it is let go; the address leads to it."""
    app, pipeline = opened(EVENTS)
    pipeline.events.append(document(NOON, user_id="user-9"))

    select(app, 1)

    assert not app.exception
    assert EVENTS[0]["_id"] in app.code[0].value
    assert 2 == len(rows(app, "user"))
    next(button for button in app.button if button.label == "Events of this user").click().run()
    assert ["user-2"] == rows(app, "user")
    app.text_input(key="user").set_value("").run()
    assert 3 == len(rows(app, "user"))


def test_document_can_be_closed() -> None:
    """The newest events are then shown again."""
    app, pipeline = opened(EVENTS)
    pipeline.events.append(document(NOON, user_id="user-9"))
    select(app, 1)

    app.button(key="close_event").click().run()

    assert not app.exception
    assert "event" not in app.query_params
    assert [] == [*app.code]
    assert 3 == len(rows(app, "user"))


def test_long_values_leave_space_for_the_other_columns() -> None:
    """Only their columns have a fixed width."""
    app, _ = opened([*EVENTS, document(user_id="u" * 200)])

    fixed = json.loads(app.dataframe[0].proto.columns)

    assert {"user"} == {*fixed} - {"_index"}


def test_address_of_an_event_shows_it() -> None:
    """With what its schema added, and a way to all events of its user."""
    pipeline = FakePipeline(events=EVENTS)
    pipeline.schema_state = SchemaState(stored={}, versions=versions(1, 2))

    app, _ = opened(EVENTS, pipeline, event=EVENTS[0]["_id"])

    assert EVENTS[0]["_id"] in app.code[0].value
    assert ":green[\\+ **browser** = firefox], added by v2" in text(app)
    next(button for button in app.button if button.label == "Events of this user").click().run()
    assert not app.exception
    assert ["user-2"] == rows(app, "user")


def test_address_of_an_event_that_is_not_stored() -> None:
    """The page says so."""
    app, _ = opened(EVENTS, event="none")

    assert "This event is not stored" in text(app)


def test_outage_keeps_the_table() -> None:
    """Marked as read before; the document of an event is read when it is asked for."""
    app, pipeline = opened(EVENTS)
    pipeline.error = OUTAGE
    app.run()
    assert 2 == len(rows(app, "user"))
    assert "Data below was read before." in text(app)

    app.query_params["event"] = EVENTS[0]["_id"]
    app.run()

    assert not app.exception
    assert [] == [*app.code]


def test_event_without_schemas_is_shown_during_an_outage_of_them() -> None:
    """What its schema added is left out."""

    class NoSchemas(FakePipeline):
        def schemas(self) -> SchemaState:
            """Fail."""
            raise OUTAGE

    app, _ = opened(EVENTS, NoSchemas(events=EVENTS), event=EVENTS[0]["_id"])

    assert EVENTS[0]["_id"] in app.code[0].value
    assert "added by" not in text(app)
