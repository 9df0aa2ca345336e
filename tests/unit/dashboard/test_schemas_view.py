"""Every state of the view of the schemas, run by Streamlit without a browser."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from streamlit.testing.v1 import AppTest

from dashboard.data.feed import Feed
from dashboard.model.errors import DisconnectedError
from dashboard.model.schema_versions import SchemaState
from streamapp.model import event
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document, v1

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    Documents = Sequence[dict[str, Any]]


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    from dashboard.views import page  # noqa: PLC0415 - likewise

    page.show(feed)


def versions(*numbers: int) -> Documents:
    """Return the documents of versions, as the worker stores them."""
    return [
        {
            "version": number,
            "schema_id": 10 + number,
            "first_seen_at": NOON - timedelta(minutes=number),
            "sources": [json.dumps(event.schema(number))],
        }
        for number in numbers
    ]


def state(**changes: Any) -> SchemaState:
    """Return what is known of two versions."""
    known: dict[str, Any] = {
        "stored": {},
        "versions": versions(1, 2),
        "times": [("v1", NOON - timedelta(hours=1), NOON), ("v2", NOON - timedelta(minutes=5), NOON)],
        "level": {"subject": "user_events-value", "level": "BACKWARD", "at": NOON},
        "dead_letters": [{"_id": "undecodable", "n": 5, "schemas": {"12": 3, "none": 1}}],
    }
    return SchemaState(**(known | changes))


def opened(events: Documents, known: SchemaState, **parameters: str) -> tuple[AppTest, FakePipeline]:
    """Return the page at the view of the schemas."""
    pipeline = FakePipeline(events=events)
    pipeline.schema_state = known
    feed = Feed(pipeline=pipeline, reader=FakeReader(events), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    for name, value in {"view": "Schemas", **parameters}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app, pipeline


def titles(app: AppTest) -> list[str]:
    return [heading.value for heading in app.header]


def table(app: AppTest, number: int) -> list[list[Any]]:
    return app.dataframe[number].value.to_numpy().tolist()


def text(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info, *app.warning))


EVENTS = [
    v1(NOON - timedelta(days=2)),
    v1(NOON - timedelta(minutes=2), metadata={"device": "tablet", "location": "FR"}),
    *(document() for _ in range(3)),
]


def test_who_uses_which_version() -> None:
    """Events of the range and of all time, the instants, the level, and who sends the oldest version of the range."""
    app, _ = opened(EVENTS, state())

    assert [
        "Adoption of each version",
        "Versions",
        "Who sends a version",
        "Event types",
        "Devices",
        "Locations",
        "Clients",
        "Difference between versions",
        "Dead letters by schema",
    ] == titles(app)
    assert [
        ["v1", 11, "1 · 25.0%", "2 · 40.0%", "11:00:30", "12:00:30", "11:59:30"],
        ["v2", 12, "3 · 75.0%", "3 · 60.0%", "11:55:30", "12:00:30", "11:58:30"],
    ] == table(app, 0)
    assert "user_events-value: **BACKWARD** (as of 12:00:30 UTC). Upgrade the consumers first" in text(app)
    assert "Events: 1 · users: 1" in text(app)
    devices, locations = (str(each.proto) for each in app.get("bidi_component")[2:])
    assert "Devices that send v1: tablet 1" in devices
    assert "Locations that send v1: FR 1" in locations


def sent_by(at: datetime, **headers: Any) -> dict[str, Any]:
    """Return an event of version 1 with headers of its record."""
    event = v1(at)
    return {**event, "kafka": {**event["kafka"], "headers": headers}}


def test_clients_that_still_send_a_version() -> None:
    """By the headers of their records, the last one first; events without headers and of other versions are not in."""
    old = NOON - timedelta(minutes=5)
    android = [sent_by(at, client="android", client_version="1.8") for at in (NOON - timedelta(minutes=1), old)]
    app, pipeline = opened([*EVENTS, *android, sent_by(old, client="web")], state())

    assert ["client", "client_version", "number of events", "last event"] == [*app.dataframe[1].value.columns]
    assert [["android", "1.8", 2, "11:59:30"], ["web", "", 1, "11:55:30"]] == table(app, 1)
    assert "by the headers of the newest 10,000 events of the range" in text(app)

    app.segmented_control(key="sends").set_value("v2").run()
    assert "None of these events has a header that is stored. STREAMAPP_STORED_HEADERS names" in text(app)

    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")
    app.run()
    assert not app.exception


def test_difference_of_two_versions_is_coloured() -> None:
    """From the one before the latest to the latest, or between those that are chosen."""
    app, _ = opened(EVENTS, state())
    assert ":green[\\+ **browser**: \\[null\\, string\\]\\, default null]" in text(app)
    assert "allowed under FULL. Producers and consumers can be upgraded in any order." in text(app)

    app.selectbox(key="before").set_value("v2").run()
    assert "No difference." in text(app)

    app.selectbox(key="after").set_value("v1").run()
    assert not app.exception
    assert ":red[− **browser**:" in text(app)


def test_change_of_a_type_has_both_colours() -> None:
    """Markdown in a schema is shown as text."""
    odd = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "int", "doc": ":red[x] $a$ `b`"}]}
    other = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
    known = [
        {**found, "sources": [json.dumps(schema)]} for found, schema in zip(versions(1, 2), (odd, other), strict=True)
    ]

    app, _ = opened(EVENTS, state(versions=known))

    assert "\\~ **n**, type: :red[int] → :green[long]" in text(app)
    assert ":red[\\:red\\[x\\] \\$a\\$ \\`b\\`] → :green[none]" in text(app)


def test_schema_that_is_not_stored_is_named() -> None:
    """By a release that did not store it."""
    first, second = versions(1, 2)

    app, _ = opened(EVENTS, state(versions=[{**first, "sources": None}, second]))

    assert "The schema of v1 is not stored" in text(app)


def test_dead_letters_by_schema() -> None:
    """By the version of the id; those that were counted before the schema was have a row of their own."""
    app, _ = opened(EVENTS, state())

    assert [
        ["v2 (id 12)", "undecodable", 3],
        ["no schema id", "undecodable", 1],
        ["not known", "undecodable", 1],
    ] == table(app, 1)


def test_nothing_known_is_unknown() -> None:
    """Events without any report of a worker."""
    app, _ = opened([document()], SchemaState(stored={}))

    assert "Compatibility level of the subject: unknown" in text(app)
    assert "There are no two versions yet." in text(app)
    assert [["v2", None, "1 · 100.0%", "1 · 100.0%", "unknown", "unknown", "unknown"]] == table(app, 0)


def test_no_events_and_no_versions() -> None:
    """The page says how to make events, as the view of events does."""
    app, _ = opened([], SchemaState(stored={}))

    assert "No events yet" in text(app)
    assert ["Versions", "Difference between versions", "Dead letters by schema"] == titles(app)


def test_locations_of_many_events_are_those_of_the_newest() -> None:
    """The page says so."""
    pipeline = FakePipeline(events=EVENTS)
    pipeline.schema_state, pipeline.most_read = state(), 2
    reader = FakeReader(EVENTS)
    reader.most_by_value = 0
    feed = Feed(pipeline=pipeline, reader=reader, clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    app.query_params["view"] = "Schemas"
    app.run()

    assert not app.exception
    assert "of the newest 10,000 events of the range" in text(app)
    assert "none of v1" in text(app)


def test_outage_keeps_what_was_read() -> None:
    """Marked as such; what was never read is unknown."""
    app, pipeline = opened(EVENTS, state())
    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")
    app.run()

    assert not app.exception
    assert "The schemas below were read before." in text(app)
    assert "v1" == table(app, 0)[0][0]
    assert "unknown" in text(app)


def test_outage_from_the_start_shows_nothing() -> None:
    """Only the error."""
    pipeline = FakePipeline(events=EVENTS)
    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")
    reader = FakeReader(EVENTS)
    reader.error = pipeline.error
    app = AppTest.from_function(
        script, args=(Feed(pipeline=pipeline, reader=reader, clock=lambda: NOON),), default_timeout=120
    )
    app.query_params["view"] = "Schemas"
    app.run()

    assert not app.exception
    assert [] == titles(app)
    assert "does not answer" in text(app)
