"""The result of `streamapp verify`: counts per partition, and problems with their coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamapp.verify.checks.offsets import FaultyOffsets, format_range

#: Kinds of problems, in the order of the report.
PROBLEM_KINDS = ("missing", "double", "extra", "differing")


class Problem(NamedTuple):
    """A problem and its coordinates."""

    what: str
    #: None if the problem has no partition of the topic.
    partition: int | None
    offsets: str
    why: str = ""

    def __str__(self) -> str:
        if self.partition is None:
            return f"{self.what}: {self.why or f'in no partition, offset {self.offsets}'}"
        return f"{self.what}: partition {self.partition}, offset {self.offsets}{': ' if self.why else ''}{self.why}"


@dataclass(slots=True, kw_only=True)
class PartitionFates:
    """The counts of one partition.

    A record is stored, replays, dead_lettered, aged_out, missing or not_settled.
    """

    partition: int | None
    records: int = 0
    stored: int = 0
    #: Replayed dead letters whose event is stored or has failed again.
    replays: int = 0
    dead_lettered: int = 0
    #: Records whose event MongoDB has deleted because of its age.
    aged_out: int = 0
    #: Records that the group has not committed yet.
    not_settled: int = 0
    #: Documents whose records Kafka has deleted: they cannot be compared.
    older: int = 0
    missing: FaultyOffsets = field(default_factory=FaultyOffsets)
    double: FaultyOffsets = field(default_factory=FaultyOffsets)
    extra: FaultyOffsets = field(default_factory=FaultyOffsets)
    differing: FaultyOffsets = field(default_factory=FaultyOffsets)

    @property
    def is_complete(self) -> bool:
        """Whether the fates add up to the number of records."""
        settled = self.stored + self.replays + self.dead_lettered + self.aged_out + self.missing.n
        return self.records == settled + self.not_settled

    def counts(self) -> Mapping[str, int]:
        """All counts by name."""
        return {
            "records": self.records,
            "stored": self.stored,
            "replays": self.replays,
            "dead_lettered": self.dead_lettered,
            "aged_out": self.aged_out,
            **{what: getattr(self, what).n for what in PROBLEM_KINDS},
            "older": self.older,
            "not_settled": self.not_settled,
        }

    def problems(self) -> Iterator[Problem]:
        """Yield the problems: offsets with a reason one by one, the others as ranges."""
        for what in PROBLEM_KINDS:
            found: FaultyOffsets = getattr(self, what)
            for offset, why in sorted(found.notes.items()):
                yield Problem(what, self.partition, str(offset), why)
            for why in found.without_offset:
                yield Problem(what, None, "", why)
            for offset_range in found.unannotated:
                yield Problem(what, self.partition, format_range(offset_range))
            if found.unlisted:
                yield Problem(what, self.partition, "…", f"{found.unlisted} more")


@dataclass(slots=True, kw_only=True)
class VerificationResult:
    """The counts and problems of all partitions."""

    partitions: Sequence[PartitionFates]
    #: Problems without a partition.
    others: list[Problem] = field(default_factory=list[Problem])
    #: Schema id → stored records that cannot be compared, because the registry no longer has their schema.
    of_lost_schemas: Mapping[int, int] = field(default_factory=dict[int, int])
    #: Batches that Kafka's client cannot read, of which only the ids can be compared.
    unreadable: Sequence[str] = ()
    #: Dead letters that have only a part of their record, which was compared.
    cut: int = 0

    def totals(self) -> Mapping[str, int]:
        """Return the sums over all partitions."""
        counts = [partition.counts() for partition in self.partitions]
        return {name: sum(each[name] for each in counts) for name in PartitionFates(partition=None).counts()}

    def problems(self) -> Sequence[Problem]:
        """Return all problems."""
        return [*(problem for partition in self.partitions for problem in partition.problems()), *self.others]

    @property
    def is_good(self) -> bool:
        """Whether there is no problem."""
        totals = self.totals()
        return not self.others and not any(totals[what] for what in PROBLEM_KINDS)
