"""Compare what became of the events of a step with what the scenario announced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bson import DatetimeMS

from streamapp.decode.writer_schema import UNREGISTERED
from streamapp.model.user_event import TIME
from streamapp.samples.faults import REASONS, Fault
from streamapp.scenarios.scenario import STORED, Expect, is_stored

#: In place of a fate: neither stored nor dead-lettered.
LOST = "neither stored nor dead-lettered"
_HOUR_MS = 3_600_000


class SentRecord(NamedTuple):
    """A record that Kafka has acknowledged."""

    event_id: str
    #: Name of its schema in the scenario.
    schema: str
    fault: Fault | None
    partition: int
    offset: int


class Found(NamedTuple):
    """What MongoDB and the dead-letter topic have of the records of a step, by event id."""

    documents: Mapping[str, Mapping[str, Any]]
    #: The reasons of dead letters.
    dead: Mapping[str, str]

    def fate_of(self, record: SentRecord) -> str:
        """The version under which its event is stored, the reason of its dead letter, or LOST."""
        if record.event_id in self.documents:
            return str(self.documents[record.event_id].get("schema_version"))
        return self.dead.get(record.event_id, LOST)


def fates(sent: Sequence[SentRecord], found: Found) -> Counter[tuple[str, str]]:
    """Count the records by schema and fate."""
    return Counter((record.schema, found.fate_of(record)) for record in sent)


def problems(expect: Expect, sent: Sequence[SentRecord], found: Found, versions: Mapping[str, str]) -> Iterator[str]:
    """Yield how what became of records differs from what was announced.

    Args:
        expect: what was announced.
        sent: the records.
        found: what became of them.
        versions: the version under the subject of each schema that was sent.
    """
    differing: Counter[tuple[str, str, str]] = Counter()
    for record in sent:
        wanted, fate = _wanted(expect, record, versions), found.fate_of(record)
        if wanted != fate:
            differing[record.schema, wanted, fate] += 1
    totals = Counter(record.schema for record in sent)
    for (schema, wanted, fate), n in sorted(differing.items()):
        yield f"{n} of {totals[schema]} events of {schema} are {_phrase(fate)}; announced: {_phrase(wanted)}"
    yield from _missing_fields(expect, sent, found)
    yield from _too_few_late(expect, sent, found)


def _wanted(expect: Expect, record: SentRecord, versions: Mapping[str, str]) -> str:
    if record.fault is not None and record.fault in REASONS:
        return str(REASONS[record.fault])
    fate = str(expect.fate.get(record.schema, STORED))
    return versions[record.schema] if fate == STORED else fate


def _phrase(fate: str) -> str:
    if fate == LOST:
        return LOST
    is_version = fate == UNREGISTERED or fate.startswith("v")
    return f"stored as {fate}" if is_version else f"dead letters ({fate})"


def _missing_fields(expect: Expect, sent: Sequence[SentRecord], found: Found) -> Iterator[str]:
    for schema, paths in expect.fields.items():
        stored = [
            found.documents[each.event_id]
            for each in sent
            if each.schema == schema and each.event_id in found.documents
        ]
        for path in paths:
            if lacking := sum(not _has(document, path) for document in stored):
                yield f"{lacking} of {len(stored)} documents of {schema} have no field {path}"
        if not stored and is_stored(str(expect.fate.get(schema, STORED))):
            yield f"no event of {schema} is stored, so its fields cannot be seen"


def _has(document: Mapping[str, Any], path: str) -> bool:
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


def _too_few_late(expect: Expect, sent: Sequence[SentRecord], found: Found) -> Iterator[str]:
    late = sum(_is_late(found.documents[each.event_id]) for each in sent if each.event_id in found.documents)
    if late < expect.late:
        yield f"{late} events happened more than an hour before they were sent; announced: at least {expect.late}"


def _is_late(document: Mapping[str, Any]) -> bool:
    sent_at = document["kafka"]["timestamp"]
    if sent_at is None:
        return False
    return int(sent_at if isinstance(sent_at, DatetimeMS) else DatetimeMS(sent_at)) - document[TIME] > _HOUR_MS
