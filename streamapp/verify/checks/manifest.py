"""The manifest of `send-sample`: per run, partition and kind of record a count and an order-independent checksum.

A manifest file has one line of JSON per run. A kind is a schema version ("v2"), for events that a worker stores, or the
name of a fault, for poison records, which become dead letters. The offsets of poison records are listed, because a good
event can become a dead letter too, and a poison record can be stored after its cause is fixed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from streamapp.model.event import required_types
from streamapp.model.user_event import OPTIONAL
from streamapp.samples.faults import REASONS
from streamapp.verify.checks.offsets import OffsetRange, append_offset

#: Marks a line of a manifest file, with the version of its format.
FORMAT = "streamapp ledger 2"
_MASK = 2**64 - 1
_MAX_NUMBER = 2**63


class NoManifestError(ValueError):
    """The input is not a manifest of `send-sample --manifest`."""


@dataclass(slots=True)
class RecordsDigest:
    """Count and checksum of a set of records, in any order."""

    count: int = 0
    checksum: int = 0

    def add(self, offset: int, content: bytes) -> None:
        """Add a record, given its `event_content` or `value_content`."""
        self.count += 1
        digest = blake2b(offset.to_bytes(8, "big") + content, digest_size=8).digest()
        self.checksum = (self.checksum + int.from_bytes(digest, "big")) & _MASK


def event_content(event: Mapping[str, Any]) -> bytes:
    """Return the bytes that the checksum of an event, or of its document, covers.

    Only the fields of sample events: the document has those of later schema versions, too.
    """
    fields = _selected(event, {**required_types(), **{optional.path: None for optional in OPTIONAL}})
    for optional in OPTIONAL:
        fields.setdefault(optional.path, None)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), default=str).encode()


def _selected(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _selected(found[name], inner)
        if isinstance(inner, dict) and isinstance(found[name], dict)
        else found[name]
        for name, inner in wanted.items()
        if name in found
    }


def value_content(value: bytes | None) -> bytes:
    """Return the bytes that the checksum of a poison record covers."""
    return b"-" if value is None else blake2b(value, digest_size=8).digest()


@dataclass(slots=True)
class PartitionManifest:
    """The acknowledged records of a run in one partition."""

    offsets: list[OffsetRange] = field(default_factory=list[OffsetRange])
    poisons: list[OffsetRange] = field(default_factory=list[OffsetRange])
    kinds: dict[str, RecordsDigest] = field(default_factory=dict[str, RecordsDigest])

    def add(self, kind: str, offset: int, content: bytes) -> None:
        """Add an acknowledged record."""
        append_offset(self.offsets, offset)
        if kind in REASONS:
            append_offset(self.poisons, offset)
        self.kinds.setdefault(kind, RecordsDigest()).add(offset, content)


@dataclass(slots=True, kw_only=True)
class Manifest:
    """The records of one run of `send-sample`."""

    topic: str
    topic_id: str
    started_at: str
    ended_at: str = ""
    unacknowledged: int = 0
    partitions: dict[int, PartitionManifest] = field(default_factory=dict[int, PartitionManifest])

    def add(self, partition: int, kind: str, offset: int, content: bytes) -> None:
        """Add an acknowledged record."""
        self.partitions.setdefault(partition, PartitionManifest()).add(kind, offset, content)


def to_line(manifest: Manifest) -> str:
    """Return the line of a run in a manifest file."""
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
    """Parse the lines of a manifest file.

    Raises:
        NoManifestError: a line is not that of a manifest; the message has its number.
    """
    return [_parse_line(number, line) for number, line in enumerate(lines, start=1)]


def _parse_line(number: int, line: str) -> Manifest:
    try:
        facts = json.loads(line)
        is_manifest = facts["format"] == FORMAT
        manifest = Manifest(
            topic=str(facts["topic"]),
            topic_id=str(facts["incarnation"]),
            started_at=str(facts["started_at"]),
            ended_at=str(facts["ended_at"]),
            unacknowledged=_natural_number(facts["unacknowledged"]),
            partitions={int(name): _parse_partition(each) for name, each in facts["partitions"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_manifest, manifest = False, None
    if manifest is None or not is_manifest:
        raise NoManifestError(f"line {number} is not a line of `send-sample --manifest`")
    return manifest


def _parse_partition(facts: Mapping[str, Any]) -> PartitionManifest:
    kinds = {
        kind: RecordsDigest(_natural_number(each["count"]), int(each["checksum"], 16))
        for kind, each in facts["kinds"].items()
    }
    manifest = PartitionManifest(_parse_ranges(facts["offsets"]), _parse_ranges(facts["poisons"]), kinds)
    if sum(last + 1 - first for first, last in manifest.offsets) != sum(each.count for each in kinds.values()):
        raise ValueError(manifest)
    return manifest


def _parse_ranges(pairs: Iterable[tuple[Any, Any]]) -> list[OffsetRange]:
    ranges = [(_natural_number(first), _natural_number(last)) for first, last in pairs]
    before = -1
    for first, last in ranges:
        if not before < first <= last:
            raise ValueError(ranges)
        before = last
    return ranges


def _natural_number(number: Any) -> int:
    if type(number) is not int or not 0 <= number < _MAX_NUMBER:
        raise ValueError(number)
    return number
