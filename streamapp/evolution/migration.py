"""Bring stored events to the shape of the latest schema: `streamapp schema migrate`.

Each document is changed by one update, which MongoDB executes only if the document is still as it was read. An update
adds and renames fields; it changes no value, so the rollups stay right. The events of a schema that the registry has
lost are left as they are. A migration that was interrupted is run again: what is done needs no change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pymongo
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from streamapp.decode.earlier_shapes import Change, changes, paths
from streamapp.decode.shape import RecordShape
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema, shape_between
from streamapp.mongodb import schema_versions
from streamapp.mongodb.client import Mongo, is_transient
from streamapp.mongodb.schema_versions import SchemaVersion

#: Documents that are read and changed together.
MAX_DOCUMENTS_PER_BATCH = 1_000

#: Returns the schema of an id; None if the registry has none.
LookUp = Callable[[int], WriterSchema | None]


@dataclass(slots=True, kw_only=True)
class MigrationResult:
    """Numbers of documents."""

    #: That were read.
    documents: int = 0
    #: That were changed, or would be.
    migrated: int = 0
    #: That were left as they are: the registry no longer has their schema, or they are not of streamapp.
    without_schema: int = 0
    #: That MongoDB refuses to change: they would exceed its size, or a validator of the collection forbids it.
    refused: int = 0


class Migration:
    """One pass over all stored events; raises PyMongoError and what `look_up` raises.

    Args:
        mongo: the database.
        latest: the latest schema.
        subject: its subject.
        look_up: returns the schema of an id.
        is_dry_run: whether nothing is written.
    """

    def __init__(
        self, mongo: Mongo, latest: WriterSchema, *, subject: str, look_up: LookUp, is_dry_run: bool = False
    ) -> None:
        self._mongo = mongo
        self._latest = latest
        self._look_up = look_up
        self._is_dry_run = is_dry_run
        self._noted = schema_versions.fingerprints(mongo.primary, subject)
        self._shapes: dict[tuple[Any, Any], RecordShape | None] = {}

    def run(self, advance: Callable[[int], None]) -> MigrationResult:
        """Migrate all documents; call `advance` with each number of documents that are done."""
        result = MigrationResult()
        for batch in self._batches():
            for version, ids in _by_version(batch).items():
                shape = self._shape_of(version)
                if shape is None:
                    result.without_schema += len(ids)
                elif not shape.is_as_written:
                    self._migrate(ids, shape, result)
            result.documents += len(batch)
            advance(len(batch))
        return result

    def _batches(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        # Ids are strings; other programs may have stored documents with others.
        fields, by_id = {"schema_id": 1, "schema_version": 1}, [("_id", pymongo.ASCENDING)]
        with self._mongo.primary["events"].find({"_id": {"$gte": ""}}, fields, sort=by_id) as found:
            found.batch_size(MAX_DOCUMENTS_PER_BATCH)
            while batch := [*islice(found, MAX_DOCUMENTS_PER_BATCH)]:
                yield batch

    def _shape_of(self, version: tuple[Any, Any]) -> RecordShape | None:
        """The shape of the events with this schema id and label; None if their schema is not known."""
        if version not in self._shapes:
            schema_id, label = version
            is_valid = type(schema_id) is int and schema_id > 0 and isinstance(label, str)
            writer = self._look_up(schema_id) if is_valid else None
            is_known = writer is not None and writer.parsed is not None and is_schema_of(writer, label, self._noted)
            self._shapes[version] = shape_between(writer, self._latest) if writer and is_known else None
        return self._shapes[version]

    def _migrate(self, ids: Sequence[str], shape: RecordShape, result: MigrationResult) -> None:
        """Migrate events of one schema."""
        updates = [update for id_, due in self._changes(ids, shape) if (update := _update(id_, due))]
        if not updates or self._is_dry_run:
            result.migrated += len(updates)
            return
        try:
            result.migrated += self._mongo.database["events"].bulk_write(updates, ordered=False).modified_count
        except BulkWriteError as exc:
            if is_transient(exc):
                raise
            result.migrated += exc.details["nModified"]
            result.refused += len(exc.details["writeErrors"])

    def _changes(self, ids: Sequence[str], shape: RecordShape) -> Iterator[tuple[str, Sequence[Change]]]:
        # Only the types are read: the fields of a thousand documents can have any size.
        names = {path: f"t{number}" for number, path in enumerate(dict.fromkeys(paths(shape)))}
        if not names:
            return  # the shape repeats a field only, and no value of a stored event changes
        types = {name: {"$type": f"${path}"} for path, name in names.items()}
        stages = [{"$match": {"_id": {"$in": ids}}}, {"$project": types}]
        for found in self._mongo.primary["events"].aggregate(stages):
            yield found["_id"], [*changes(shape, lambda path, each=found: each[names[path]])]


def is_schema_of(writer: WriterSchema, label: str, noted: Mapping[SchemaVersion, str | None]) -> bool:
    """Whether the schema that the registry has for an id is that of documents with this version label.

    A registry that was restored from an older copy may have given the id to another schema.
    """
    fingerprint = noted.get((writer.schema_id, label))
    if fingerprint is not None:
        return fingerprint == writer.fingerprint
    return label in {UNREGISTERED, writer.version}


def _by_version(batch: Iterable[Mapping[str, Any]]) -> Mapping[tuple[Any, Any], list[Any]]:
    found: defaultdict[tuple[Any, Any], list[Any]] = defaultdict(list)
    for each in batch:
        version = each.get("schema_id"), each.get("schema_version")
        is_plain = isinstance(version[0], int) and isinstance(version[1], str)
        found[version if is_plain else (None, None)].append(each["_id"])
    return found


def _update(id_: str, due: Sequence[Change]) -> UpdateOne | None:
    """The update that makes these changes if the document is as it was read; None if there is nothing to change."""
    if not due:
        return None
    as_read = {f"{each.before}{each.name}": {"$exists": False} for each in due}
    as_read |= {f"{each.before}{each.source}": {"$exists": True} for each in due if each.source}
    return UpdateOne({"_id": id_, **as_read}, [stage for each in due for stage in _stages(each)])


def _stages(change: Change) -> Iterator[Mapping[str, Any]]:
    path, source = f"{change.after}{change.name}", f"{change.after}{change.source}"
    if change.source is None:
        yield {"$set": {path: {"$literal": change.value}}}
        return
    yield {"$set": {path: f"${source}"}}
    if not change.is_copy:
        yield {"$unset": source}
