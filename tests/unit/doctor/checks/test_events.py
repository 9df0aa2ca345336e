"""Findings about the collection of events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.doctor.checks.events import EventsFacts, check_events


def an_index(name: str = "event_timestamp_1", key: str = "event_timestamp", **options: Any) -> dict[str, Any]:
    return {"v": 2, "name": name, "key": {key: 1}, **options}


APART = an_index("apart", partialFilterExpression={"kafka.apart": True})
ID = an_index("_id_", "_id")


def of_events(*indexes: dict[str, Any], options: Any = None, refused: Any = (), **facts: Any) -> dict[str, str]:
    events = EventsFacts(database="d", exists=True, options=options or {}, indexes=indexes, refused=refused, **facts)
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
    ("name", "days", "setting", "expected"),
    [
        ("retention", 7, 7, "ok: d.events keeps events for 7 days after they were received, and rollups keep"),
        ("mine", 7, 7, "ok: d.events keeps events for 7 days"),
        ("retention", 7, 30, "warning: d.events keeps events for 7 days"),
        ("retention", 7, 0, "warning: d.events keeps events for 7 days"),
        ("mine", 7, 0, "warning: d.events keeps events for 7 days after they were received, and rollups keep their"),
        (None, 0, 7, "ok: d.events keeps events without a limit, but STREAMAPP_EVENTS_RETENTION_DAYS is 7: a worker"),
    ],
)
def test_retention_by_the_setting(name: str | None, days: int, setting: int, expected: str) -> None:
    """The index should have the retention of the setting."""
    indexes = [an_index(name, "received_at", expireAfterSeconds=days * 86_400)] if name else []

    assert of_events(*indexes, retention_days=setting)["mongodb.kept"].startswith(expected)


def test_what_has_aged_out_is_named() -> None:
    """Whether it is deleted yet depends on the clock of MongoDB."""
    index = an_index("retention", "received_at", expireAfterSeconds=86_400)
    found = of_events(index, retention_days=1, aged_out_before=datetime(2026, 11, 28, 17, 30, tzinfo=UTC))

    assert found["mongodb.kept"].endswith("; events received before 2026-11-28 17:30 UTC may have been deleted")


@pytest.mark.parametrize(
    ("action", "refused", "expected"),
    [("error", ["V1"], "fault"), ("warn", ["V1"], "warning"), ("error", [], "ok"), ("error", None, "warning")],
)
def test_validator(action: str, refused: Any, expected: str) -> None:
    """It must accept the documents of the worker."""
    found = of_events(options={"validator": {"a": 1}, "validationAction": action}, refused=refused)

    assert found["mongodb.validator"].startswith(expected)
