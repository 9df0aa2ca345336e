"""What `streamapp verify` finds: counts per partition, and what is wrong where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamapp.verify.checks.offsets import Runs, spelled

#: Kinds of what is wrong, in the order in which they are told.
WRONG = ("missing", "double", "extra", "differing")


class Problem(NamedTuple):
    """Something wrong at some place."""

    what: str
    #: None: at no place of the topic.
    partition: int | None
    offsets: str
    why: str = ""

    def __str__(self) -> str:
        if self.partition is None:
            return f"{self.what}: {self.why or f'in no partition, offset {self.offsets}'}"
        return f"{self.what}: partition {self.partition}, offset {self.offsets}{': ' if self.why else ''}{self.why}"


@dataclass(slots=True, kw_only=True)
class PartitionFates:
    """One partition: every record has one of the fates stored, replays, dead_lettered, missing or not_settled."""

    partition: int | None
    records: int = 0
    stored: int = 0
    #: Replayed dead letters whose event is stored, or has failed again.
    replays: int = 0
    dead_lettered: int = 0
    #: Records that the worker's group has not committed yet.
    not_settled: int = 0
    #: Documents whose records are gone: nothing is left to compare them with.
    older: int = 0
    missing: Runs = field(default_factory=Runs)
    double: Runs = field(default_factory=Runs)
    extra: Runs = field(default_factory=Runs)
    differing: Runs = field(default_factory=Runs)

    @property
    def is_settled(self) -> bool:
        """Whether every record has met its fate, one and no more."""
        return self.records == self.stored + self.replays + self.dead_lettered + self.not_settled + self.missing.n

    def counts(self) -> Mapping[str, int]:
        """All numbers, by name."""
        return {
            "records": self.records,
            "stored": self.stored,
            "replays": self.replays,
            "dead_lettered": self.dead_lettered,
            **{what: getattr(self, what).n for what in WRONG},
            "older": self.older,
            "not_settled": self.not_settled,
        }

    def problems(self) -> Iterator[Problem]:
        """What is wrong here; offsets with a reason come one by one, the others in runs."""
        for what in WRONG:
            found: Runs = getattr(self, what)
            for offset, why in sorted(found.notes.items()):
                yield Problem(what, self.partition, str(offset), why)
            for why in found.placeless:
                yield Problem(what, None, "", why)
            for run in found.without_notes:
                yield Problem(what, self.partition, spelled(run))
            if found.counted_only:
                yield Problem(what, self.partition, "…", f"{found.counted_only} more")


@dataclass(slots=True, kw_only=True)
class Verdict:
    """All that was found."""

    partition_ids: Sequence[PartitionFates]
    #: Problems that lie in no partition.
    others: list[Problem] = field(default_factory=list[Problem])

    def totals(self) -> Mapping[str, int]:
        """The numbers of all partitions together."""
        counts = [partition_id.counts() for partition_id in self.partition_ids]
        return {name: sum(each[name] for each in counts) for name in PartitionFates(partition=None).counts()}

    def problems(self) -> Sequence[Problem]:
        """All that are told."""
        return [*(problem for partition_id in self.partition_ids for problem in partition_id.problems()), *self.others]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        totals = self.totals()
        return not self.others and not any(totals[what] for what in WRONG)
