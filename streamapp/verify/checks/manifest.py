"""The ledger of what was sent: per run, partition and kind of record a count and a checksum that no order changes.

A line of JSON per run. Kinds are schema versions ("v2") of events that are to be stored, and names of faults of records
that are to be dead letters: poisons. The offsets of these are kept apart, since a good event may become a dead letter
too, and a poison may be stored once its cause is mended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from streamapp.decode.document import RESERVED
from streamapp.samples.faults import REASONS
from streamapp.verify.checks.offsets import Run, extend

#: What marks a line, and says how it is written.
FORMAT = "streamapp ledger 2"
_MASK = 2**64 - 1
_MOST = 2**63


class NoManifestError(ValueError):
    """Not what `send-sample --ledger` writes."""


@dataclass(slots=True)
class Sum:
    """Count and checksum of some records."""

    count: int = 0
    checksum: int = 0

    def add(self, offset: int, content: bytes) -> None:
        """Add a record, by what `of_event` or `of_value` says of it."""
        self.count += 1
        digest = blake2b(offset.to_bytes(8, "big") + content, digest_size=8).digest()
        self.checksum = (self.checksum + int.from_bytes(digest, "big")) & _MASK


def of_event(event: Mapping[str, Any]) -> bytes:
    """What the checksum of an event, or of its document, is made of."""
    fields = {name: value for name, value in event.items() if name not in RESERVED}
    fields.setdefault("browser", None)  # V1 has none
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), default=str).encode()


def of_value(value: bytes | None) -> bytes:
    """What the checksum of a record that is no event is made of."""
    return b"-" if value is None else blake2b(value, digest_size=8).digest()


@dataclass(slots=True)
class PartitionManifest:
    """What a partition has acknowledged of a run."""

    offsets: list[Run] = field(default_factory=list[Run])
    poisons: list[Run] = field(default_factory=list[Run])
    kinds: dict[str, Sum] = field(default_factory=dict[str, Sum])

    def add(self, kind: str, offset: int, content: bytes) -> None:
        """Add an acknowledged record."""
        extend(self.offsets, offset)
        if kind in REASONS:
            extend(self.poisons, offset)
        self.kinds.setdefault(kind, Sum()).add(offset, content)


@dataclass(slots=True, kw_only=True)
class Manifest:
    """What a run has sent."""

    topic: str
    topic_id: str
    started_at: str
    ended_at: str = ""
    unacknowledged: int = 0
    partitions: dict[int, PartitionManifest] = field(default_factory=dict[int, PartitionManifest])

    def add(self, partition: int, kind: str, offset: int, content: bytes) -> None:
        """Add an acknowledged record."""
        self.partitions.setdefault(partition, PartitionManifest()).add(kind, offset, content)


def line_of(manifest: Manifest) -> str:
    """Its line in the ledger."""
    partitions = {
        str(partition): {
            "offsets": sorted(each.offsets),
            "poisons": sorted(each.poisons),
            "kinds": {
                kind: {"count": each_kind.count, "checksum": f"{each_kind.checksum:016x}"}
                for kind, each_kind in sorted(each.kinds.items())
            },
        }
        for partition, each in sorted(manifest.partitions.items())
    }
    facts = {
        "format": FORMAT,
        "topic": manifest.topic,
        "incarnation": manifest.topic_id,
        "started_at": manifest.started_at,
        "ended_at": manifest.ended_at,
        "unacknowledged": manifest.unacknowledged,
        "partitions": partitions,
    }
    return json.dumps(facts) + "\n"


def parse(lines: Iterable[str]) -> Sequence[Manifest]:
    """What the runs of a ledger have sent.

    Raises:
        NoLedgerError: says which line is none of a ledger.
    """
    return [_parse_one(number, line) for number, line in enumerate(lines, start=1)]


def _parse_one(number: int, line: str) -> Manifest:
    try:
        facts = json.loads(line)
        is_ours = facts["format"] == FORMAT
        manifest = Manifest(
            topic=str(facts["topic"]),
            topic_id=str(facts["incarnation"]),
            started_at=str(facts["started_at"]),
            ended_at=str(facts["ended_at"]),
            unacknowledged=_whole(facts["unacknowledged"]),
            partitions={int(name): _sent_to(each) for name, each in facts["partitions"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_ours, manifest = False, None
    if manifest is None or not is_ours:
        raise NoManifestError(f"line {number} is not what `send-sample --ledger` writes")
    return manifest


def _sent_to(facts: Mapping[str, Any]) -> PartitionManifest:
    kinds = {kind: Sum(_whole(each["count"]), int(each["checksum"], 16)) for kind, each in facts["kinds"].items()}
    manifest = PartitionManifest(_runs(facts["offsets"]), _runs(facts["poisons"]), kinds)
    if sum(last + 1 - first for first, last in manifest.offsets) != sum(each.count for each in kinds.values()):
        raise ValueError(manifest)
    return manifest


def _runs(pairs: Iterable[tuple[Any, Any]]) -> list[Run]:
    runs = [(_whole(first), _whole(last)) for first, last in pairs]
    before = -1
    for first, last in runs:
        if not before < first <= last:
            raise ValueError(runs)
        before = last
    return runs


def _whole(number: Any) -> int:
    if type(number) is not int or not 0 <= number < _MOST:
        raise ValueError(number)
    return number
