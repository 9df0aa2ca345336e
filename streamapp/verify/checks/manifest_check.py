"""Prove that what was sent, by a ledger, is what is stored or dead-lettered at the offsets that Kafka acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import bson

from streamapp.decode.document import LENIENT
from streamapp.samples.faults import REASONS
from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, Sum
from streamapp.verify.checks.offsets import Run, Runs, has, spelled
from streamapp.verify.checks.verdict import Problem

#: Documents fetched at the same time.
MAX_IDS_PER_QUERY = 5_000

#: The documents that are stored, as bytes, of those with these ids.
Stored = Callable[[Sequence[str]], Mapping[str, bytes]]


class DeadLettered(Protocol):
    """What is known of a dead letter."""

    @property
    def reason(self) -> str:
        """Why it failed first."""
        ...

    @property
    def content(self) -> bytes:
        """What its bytes add to a checksum."""
        ...


class ManifestCheck:
    """Compares a ledger's runs with what has become of them."""

    def __init__(
        self, *, stored: Stored, dead_lettered: Mapping[str, DeadLettered], committed: Mapping[int, int]
    ) -> None:
        self._stored = stored
        self._buried = dead_lettered
        self._committed = committed
        self.records = 0
        #: Sent, and not settled yet: nothing is said of their partition of that run.
        self.not_settled = 0

    def judge(self, run: Manifest) -> Iterator[Problem]:
        """What is wrong with a run."""
        for partition, part in run.partitions.items():
            end = self._committed.get(partition, 0)
            if late := sum(max(last + 1 - max(first, end), 0) for first, last in part.offsets):
                self.not_settled += late
                continue
            found, missing = self._found(run, partition)
            for gap in missing.runs:
                yield Problem("sent and missing", partition, spelled(gap), f"sent at {run.started_at}")
            yield from _differences(run, partition, part.kinds, found)

    def _found(self, run: Manifest, partition: int) -> tuple[dict[str, Sum], Runs]:
        found: dict[str, Sum] = {}
        missing = Runs()
        part = run.partitions[partition]
        for some in _chunks(part.offsets):
            ids = {offset: f"{run.topic_id}-{partition}-{offset}" for offset in some}
            documents = self._stored([*ids.values()])
            self.records += len(ids)
            for offset, id_ in ids.items():
                if (kind_content := self._one(id_, documents, is_poison=has(part.poisons, offset))) is None:
                    missing.add(offset)
                else:
                    found.setdefault(kind_content[0], Sum()).add(offset, kind_content[1])
        return found, missing

    def _one(self, id_: str, documents: Mapping[str, bytes], *, is_poison: bool) -> tuple[str, bytes] | None:
        raw, letter = documents.get(id_), self._buried.get(id_)
        # Of a poison the dead letter has the bytes that were sent, also where it is stored by now. A good event may
        # have failed before it was stored.
        if letter and (is_poison or raw is None):
            return (_KINDS.get(letter.reason, letter.reason) if is_poison else letter.reason), letter.content
        if raw is None:
            return None
        document = bson.decode(raw, LENIENT)
        return str(document.get("schema_version")), manifest.of_event(document)


_KINDS = {str(reason): str(fault) for fault, reason in REASONS.items()}


def _differences(
    run: Manifest, partition: int, wanted: Mapping[str, Sum], found: Mapping[str, Sum]
) -> Iterator[Problem]:
    for kind in sorted({*wanted, *found}):
        ours, theirs = wanted.get(kind, Sum()), found.get(kind, Sum())
        if ours.count != theirs.count:
            why = f"{kind}: {ours.count} sent, {theirs.count} found"
        elif ours.checksum != theirs.checksum:
            why = f"{kind}: the checksum of the {ours.count} sent is {ours.checksum:016x}, found {theirs.checksum:016x}"
        else:
            continue
        runs = run.partitions[partition].offsets
        yield Problem("sent and differing", partition, f"{runs[0][0]}-{runs[-1][1]}", why)


def _chunks(runs: Sequence[Run]) -> Iterator[range]:
    for first, last in runs:
        for start in range(first, last + 1, MAX_IDS_PER_QUERY):
            yield range(start, min(start + MAX_IDS_PER_QUERY, last + 1))
