"""Check that the records of a manifest are stored or dead-lettered at the offsets that Kafka acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import bson

from streamapp.decode.document import LENIENT
from streamapp.samples.faults import REASONS
from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, RecordsDigest
from streamapp.verify.checks.offsets import FaultyOffsets, OffsetRange, contains, format_range
from streamapp.verify.checks.result import Problem

#: Documents per query.
MAX_IDS_PER_QUERY = 5_000

#: Returns the stored documents with these ids as bytes, by id.
FindDocuments = Callable[[Sequence[str]], Mapping[str, bytes]]


class DeadLettered(Protocol):
    """The dead letter of an event."""

    @property
    def reason(self) -> str:
        """The reason of the first failure."""
        ...

    @property
    def content(self) -> bytes:
        """The bytes that the checksum covers."""
        ...


class _Content(NamedTuple):
    """What a record adds to the digest of its kind."""

    kind: str
    value: bytes


class ManifestCheck:
    """Compares the runs of a manifest with documents and dead letters.

    Args:
        find_documents: reads documents.
        dead_lettered: the dead letters by the `_id` of their event.
        committed: the committed offset of each partition.
        aged_out_before: events received before this instant may have been deleted; None: none may.
    """

    def __init__(
        self,
        *,
        find_documents: FindDocuments,
        dead_lettered: Mapping[str, DeadLettered],
        committed: Mapping[int, int],
        aged_out_before: datetime | None = None,
    ) -> None:
        self._find_documents = find_documents
        self._dead_lettered = dead_lettered
        self._committed = committed
        self._aged_out_before = aged_out_before
        self.records = 0
        #: Sent records that the group has not committed yet; their partition of that run is not checked.
        self.not_settled = 0
        #: Sent records whose events MongoDB may have deleted because of their age; see `not_settled`.
        self.aged_out = 0

    def check(self, run: Manifest) -> Iterator[Problem]:
        """Yield the missing and differing records of a run."""
        for partition, part in run.partitions.items():
            end = self._committed.get(partition, 0)
            if late := sum(max(last + 1 - max(first, end), 0) for first, last in part.offsets):
                self.not_settled += late
                continue
            found, missing = self._find_partition(run, partition)
            if missing.n and self._may_have_aged_out(run):
                self.aged_out += missing.n
                continue
            for gap in missing.ranges:
                yield Problem("sent and missing", partition, format_range(gap), f"sent at {run.started_at}")
            yield from _differences(run, partition, part.kinds, found)

    def _may_have_aged_out(self, run: Manifest) -> bool:
        return self._aged_out_before is not None and datetime.fromisoformat(run.started_at) < self._aged_out_before

    def _find_partition(self, run: Manifest, partition: int) -> tuple[dict[str, RecordsDigest], FaultyOffsets]:
        found: dict[str, RecordsDigest] = {}
        missing = FaultyOffsets()
        part = run.partitions[partition]
        for offsets in _chunks(part.offsets):
            ids = {offset: f"{run.topic_id}-{partition}-{offset}" for offset in offsets}
            documents = self._find_documents([*ids.values()])
            self.records += len(ids)
            for offset, id_ in ids.items():
                content = self._find_content(id_, documents, is_poison=contains(part.poisons, offset))
                if content is None:
                    missing.add(offset)
                else:
                    found.setdefault(content.kind, RecordsDigest()).add(offset, content.value)
        return found, missing

    def _find_content(self, id_: str, documents: Mapping[str, bytes], *, is_poison: bool) -> _Content | None:
        raw, letter = documents.get(id_), self._dead_lettered.get(id_)
        # For a poison record the dead letter has the bytes that were sent, even if the record is stored by now. For a
        # good event the document has them: it may have failed before it was stored.
        if letter and (is_poison or raw is None):
            return _Content(_KINDS.get(letter.reason, letter.reason) if is_poison else letter.reason, letter.content)
        if raw is None:
            return None
        document = bson.decode(raw, LENIENT)
        return _Content(str(document.get("schema_version")), manifest.event_content(document))


_KINDS = {str(reason): str(fault) for fault, reason in REASONS.items()}


def _differences(
    run: Manifest, partition: int, wanted: Mapping[str, RecordsDigest], found: Mapping[str, RecordsDigest]
) -> Iterator[Problem]:
    for kind in sorted({*wanted, *found}):
        sent, actual = wanted.get(kind, RecordsDigest()), found.get(kind, RecordsDigest())
        if sent.count != actual.count:
            why = f"{kind}: {sent.count} sent, {actual.count} found"
        elif sent.checksum != actual.checksum:
            why = (
                f"{kind}: the {sent.count} sent have checksum {sent.checksum:016x}, those found {actual.checksum:016x}"
            )
        else:
            continue
        ranges = run.partitions[partition].offsets
        yield Problem("sent and differing", partition, f"{ranges[0][0]}-{ranges[-1][1]}", why)


def _chunks(ranges: Sequence[OffsetRange]) -> Iterator[range]:
    for first, last in ranges:
        for start in range(first, last + 1, MAX_IDS_PER_QUERY):
            yield range(start, min(start + MAX_IDS_PER_QUERY, last + 1))
