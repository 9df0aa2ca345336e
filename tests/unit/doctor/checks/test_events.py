"""Findings about the collection of events."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.checks.events import EventsFacts, check_events


def an_index(name: str = "event_timestamp_1", key: str = "event_timestamp", **options: Any) -> dict[str, Any]:
    return {"v": 2, "name": name, "key": {key: 1}, **options}


APART = an_index("apart", partialFilterExpression={"kafka.apart": True})
ID = an_index("_id_", "_id")


def of_events(*indexes: dict[str, Any], options: Any = None, refused: Any = ()) -> dict[str, str]:
    events = EventsFacts(database="d", exists=True, options=options or {}, indexes=indexes, refused=refused)
    return {f.check: f"{f.verdict}: {f.seen}" for f in check_events(events)}


def test_collection_that_does_not_exist_yet() -> None:
    """The worker creates it."""
    assert ["ok"] == [f.verdict for f in check_events(EventsFacts(database="d", exists=False))]


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ((ID, an_index(), APART), "ok: the indexes event_timestamp_1, apart exist"),
        ((ID,), "ok: the worker creates the indexes event_timestamp_1, apart"),
        ((ID, an_index("mine"), APART), "ok: the indexes event_timestamp_1, apart exist"),
        ((ID, an_index("by_user", "user_id")), "ok: the worker creates the indexes event_timestamp_1, apart"),
        (
            (ID, an_index("mine", partialFilterExpression={"a": 1})),
            "ok: the worker creates the indexes event_timestamp_1, apart",
        ),
        ((ID, an_index("by_user", "user_id", unique=True)), "fault: the index by_user is unique"),
        ((ID, an_index(sparse=True)), "warning: the index event_timestamp_1 prevents"),
        ((ID, an_index("mine", expireAfterSeconds=5)), "warning: the index mine prevents"),
        ((ID, an_index(), an_index("apart", "user_id")), "warning: the index apart prevents"),
    ],
)
def test_indexes(indexes: tuple[dict[str, Any], ...], expected: str) -> None:
    """They exist, will be created, or cannot be created because of another index."""
    assert of_events(*indexes)["mongodb.indexes"].startswith(expected)


def test_collection_that_deletes_events() -> None:
    """It is capped, or has a TTL index."""
    assert of_events()["mongodb.kept"].startswith("ok")
    assert of_events(options={"capped": True})["mongodb.kept"].startswith("fault")
    assert of_events(an_index(expireAfterSeconds=600))["mongodb.kept"].startswith("warning")


@pytest.mark.parametrize(
    ("action", "refused", "expected"),
    [("error", ["V1"], "fault"), ("warn", ["V1"], "warning"), ("error", [], "ok"), ("error", None, "warning")],
)
def test_validator(action: str, refused: Any, expected: str) -> None:
    """It must accept the documents of the worker."""
    found = of_events(options={"validator": {"a": 1}, "validationAction": action}, refused=refused)

    assert found["mongodb.validator"].startswith(expected)
