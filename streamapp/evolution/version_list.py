"""List the versions of a subject with the events that are stored of each: `streamapp schema list`; writes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from streamapp.decode.avro_schema import from_text
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.errors import RegistryUnavailable
from streamapp.model.event import schema_folder
from streamapp.model.user_event import SCHEMA_VERSION
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.registry.client import RegistryClient
from streamapp.rollups.keys import value_of
from streamapp.rollups.levels import LEVELS

#: The span of the share, and the level of the rollups that it is counted from: buckets of ten minutes.
SHARE_SPAN = timedelta(hours=24)
_MINUTES, _DAYS = LEVELS[1], LEVELS[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """What MongoDB knows of a version."""

    schema_id: int
    first_seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCounts:
    """What MongoDB has of the versions of a subject; see `ListedVersion`."""

    versions: Mapping[str, StoredVersion] = field(default_factory=dict[str, StoredVersion])
    #: By version label.
    events: Counter[str] = field(default_factory=Counter[str])
    last_day: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVersion:
    """One version of a subject."""

    #: "v2"; "unregistered" for events with schemas of other subjects.
    label: str
    #: None for several schemas.
    schema_id: int | None
    #: When a worker first read a record of it; None if none did.
    first_seen_at: datetime | None
    #: Events that the rollups count, also those that were deleted because of their age.
    events: int
    #: Those of them with an event time within SHARE_SPAN.
    last_day: int
    #: Name of the file of this checkout with the same schema.
    file: str | None
    #: Whether the registry lists it under the subject; a version can be deleted.
    is_registered: bool


async def registered_versions(registry: RegistryClient) -> Sequence[WriterSchema]:
    """Read all versions of the registry's subject, in ascending order; raises RegistryUnavailable."""
    return await asyncio.gather(*(_version(registry, number) for number in sorted(await registry.versions())))


async def _version(registry: RegistryClient, number: int) -> WriterSchema:
    found = await registry.read_version(number)
    if found is None or found.schema_id is None:
        message = f"{registry.url} lists v{number} of {registry.subject}, and then has no such version"
        raise RegistryUnavailable(message, is_running=True)
    return writer_schema(found.schema, schema_id=found.schema_id, version=f"v{number}", definitions=found.definitions)


def stored_counts(mongo: Mongo, subject: str, now: datetime) -> StoredCounts:
    """Read what MongoDB has of the versions of a subject; raises StoreUnavailable."""
    return translate_errors(lambda: _stored_counts(mongo, subject, now))


def _stored_counts(mongo: Mongo, subject: str, now: datetime) -> StoredCounts:
    database = mongo.database
    seen = database["schema_versions"].find({"subject": subject})
    return StoredCounts(
        versions={
            f"v{each['version']}": StoredVersion(
                schema_id=each["schema_id"], first_seen_at=_utc(each.get("first_seen_at"))
            )
            for each in seen
        },
        events=_count(database[_DAYS.collection], {}),
        last_day=_count(database[_MINUTES.collection], {"bucket": {"$gte": now - SHARE_SPAN}}),
    )


def _utc(at: object) -> datetime | None:
    return at.replace(tzinfo=UTC) if isinstance(at, datetime) else None


def _count(collection: Any, wanted: Mapping[str, Any]) -> Counter[str]:
    pipeline = [
        {"$match": wanted},
        {"$project": {"pair": {"$objectToArray": f"${SCHEMA_VERSION.plural}"}}},
        {"$unwind": "$pair"},
        {"$group": {"_id": "$pair.k", "n": {"$sum": "$pair.v"}}},
    ]
    return Counter({value_of(each["_id"]) or "": int(each["n"]) for each in collection.aggregate(pipeline)})


def known_files() -> Mapping[str, str]:
    """Return the schema files of this checkout, by the Parsing Canonical Form of their schemas."""
    files = sorted(schema_folder().glob("*.avsc"))
    schemas = {path.name: from_text(path.read_text("utf-8")) for path in files}
    return {writer_schema(schema, schema_id=0, version="").canonical: name for name, schema in schemas.items()}


def listed(
    registered: Sequence[WriterSchema], stored: StoredCounts, files: Mapping[str, str]
) -> Sequence[ListedVersion]:
    """Combine what registry, MongoDB and checkout know, in the order of the versions; other labels come last."""
    by_label = {writer.version: writer for writer in registered}
    labels = {*by_label, *stored.versions, *stored.events, *stored.last_day}
    return [_listed(label, by_label.get(label), stored, files) for label in sorted(labels, key=_order)]


def _listed(label: str, writer: WriterSchema | None, stored: StoredCounts, files: Mapping[str, str]) -> ListedVersion:
    seen = stored.versions.get(label)
    return ListedVersion(
        label=label,
        schema_id=writer.schema_id if writer else seen.schema_id if seen else None,
        first_seen_at=seen.first_seen_at if seen else None,
        events=stored.events[label],
        last_day=stored.last_day[label],
        file=files.get(writer.canonical) if writer and writer.canonical else None,
        is_registered=writer is not None,
    )


def _order(label: str) -> tuple[bool, int, str]:
    is_version = label.startswith("v") and label[1:].isdecimal()
    return not is_version, int(label[1:]) if is_version else 0, label
