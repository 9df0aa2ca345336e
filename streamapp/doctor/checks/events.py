"""Check the collection of events: retention, validator and indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning
from streamapp.model import expiry
from streamapp.model.user_event import TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsFacts:
    """The collection `events` as it is in MongoDB."""

    database: str
    exists: bool
    #: As listed by listCollections.
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: As listed by listIndexes.
    indexes: Sequence[Mapping[str, Any]] = ()
    #: Versions whose sample document the validator refuses; None if this could not be checked.
    refused: Sequence[str] | None = ()
    #: STREAMAPP_EVENTS_RETENTION_DAYS.
    retention_days: int = 0
    #: Events received before this instant may have been deleted because of their age; None: none may.
    aged_out_before: datetime | None = None


#: Its name by MongoDB's rule.
_TIME_INDEX = f"{TIME}_1"
#: The indexes that the worker creates, with the options that distinguish them.
_EXPECTED_INDEXES: Mapping[str, Mapping[str, Any]] = {
    _TIME_INDEX: {"key": {TIME: 1}},
    "apart": {"key": {TIME: 1}, "partialFilterExpression": {"kafka.apart": True}},
}
_SECONDS_PER_DAY = 86_400
_INDEX_OPTIONS = ("key", "partialFilterExpression", "sparse", "unique", "expireAfterSeconds", "collation", "hidden")


def check_events(events: EventsFacts) -> Findings:
    """Check that the collection accepts documents, and keeps them."""
    if not events.exists:
        yield ok(
            "mongodb.events", f"{events.database}.events does not exist yet; the worker creates it with its indexes"
        )
        return
    yield from _retention(events)
    yield _validator(events)
    yield _indexes(events)


def _retention(events: EventsFacts) -> Iterator[Finding]:
    check, name = "mongodb.kept", f"{events.database}.events"
    if events.options.get("capped"):
        fix = (
            "rename the collection, so that the worker creates a new one:"
            f" mongosh {events.database} --eval 'db.events.renameCollection(\"events_capped\")'"
        )
        yield fault(check, f"{name} is capped: MongoDB deletes old events to store new ones", fix)
        return
    ttl = [each for each in events.indexes if "expireAfterSeconds" in each]
    if others := [each for each in ttl if _fields(each) != [expiry.RECEIVED_AT]]:
        after = f"{others[0]['expireAfterSeconds']:,} s"
        seen = f"the index {others[0]['name']} deletes events after {after}, but the rollups still count them"
        yield warning(check, seen, _drop_index_command(events, others[0]))
        return
    seconds = ttl[0]["expireAfterSeconds"] if ttl else 0
    wanted = f"STREAMAPP_EVENTS_RETENTION_DAYS is {events.retention_days}"
    if seconds == events.retention_days * _SECONDS_PER_DAY:
        yield ok(check, f"{name} keeps events {_duration(seconds)}{_aged_out(events)}")
    elif not ttl:
        yield ok(check, f"{name} keeps events without a limit, but {wanted}: a worker creates the index at its start")
    elif ttl[0]["name"] != expiry.INDEX and not events.retention_days:
        seen = f"{name} keeps events {_duration(seconds)} by the index {ttl[0]['name']}, but {wanted}"
        yield warning(check, seen, _drop_index_command(events, ttl[0]))
    else:
        seen = f"{name} keeps events {_duration(seconds)}, but {wanted}: a worker changes the index at its start"
        fix = "restart the workers with the setting that is right; all workers need the same value"
        yield warning(check, seen, fix)


def _fields(index: Mapping[str, Any]) -> list[str]:
    return [*index["key"]]


def _duration(seconds: int) -> str:
    if not seconds:
        return "without a limit"
    days = f"{seconds / _SECONDS_PER_DAY:.3g} days"
    return f"for {days} after they were received, and rollups keep their counts"


def _aged_out(events: EventsFacts) -> str:
    before = events.aged_out_before
    return f"; events received before {before:%Y-%m-%d %H:%M} UTC may have been deleted" if before else ""


def _validator(events: EventsFacts) -> Finding:
    check = "mongodb.validator"
    if not events.options.get("validator"):
        return ok(check, "the collection has no validator")
    if events.refused is None:
        seen = "doctor cannot check whether the validator of the collection accepts the documents of the worker"
        show = f"mongosh {events.database} --eval 'db.getCollectionInfos({{name: \"events\"}})'"
        return warning(check, seen, f"compare the validator with the document in the README: {show}")
    if not events.refused:
        return ok(check, "the validator accepts the documents of the worker")
    seen = f"the validator refuses the documents of the worker ({', '.join(events.refused)})"
    off = f'mongosh {events.database} --eval \'db.runCommand({{collMod: "events", validationLevel: "off"}})\''
    if events.options.get("validationAction", "error") == "warn":
        return warning(check, f"{seen}, but MongoDB stores them and logs a warning", off)
    return fault(check, f"{seen}: every event becomes a dead letter", off)


def _indexes(events: EventsFacts) -> Finding:
    check = "mongodb.indexes"
    existing = {index["name"]: _index_key(index) for index in events.indexes}
    if unique := [index for index in events.indexes if index.get("unique")]:
        seen = f"the index {unique[0]['name']} is unique: a second event with the same values becomes a dead letter"
        return fault(check, seen, _drop_index_command(events, unique[0]))
    if wrong := [index for index in events.indexes if _conflicts(index, existing)]:
        seen = f"the index {wrong[0]['name']} prevents the worker from creating its own: the dashboard is slow"
        return warning(check, seen, f"drop the index, then restart the worker: {_drop_index_command(events, wrong[0])}")
    if missing := [name for name in _EXPECTED_INDEXES if _EXPECTED_INDEXES[name] not in existing.values()]:
        return ok(check, f"the worker creates the indexes {', '.join(missing)}")
    return ok(check, f"the indexes {', '.join(_EXPECTED_INDEXES)} exist")


def _index_key(index: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(index[name]) for name in _INDEX_OPTIONS if name in index}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _conflicts(index: Mapping[str, Any], existing: Mapping[str, Mapping[str, Any]]) -> bool:
    key, name = _index_key(index), index["name"]
    if key in _EXPECTED_INDEXES.values():
        return False
    # The same name, or the same keys without a filter, which MongoDB treats as the same index.
    same_keys = key["key"] == {TIME: 1} and "partialFilterExpression" not in key
    return name in _EXPECTED_INDEXES or (same_keys and _EXPECTED_INDEXES[_TIME_INDEX] not in existing.values())


def _drop_index_command(events: EventsFacts, index: Mapping[str, Any]) -> str:
    return f"mongosh {events.database} --eval 'db.events.dropIndex(\"{index['name']}\")'"
