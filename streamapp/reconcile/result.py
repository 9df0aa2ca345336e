"""The result of a comparison of the rollups with the events."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamapp.reconcile.bucket_range import RollupKey


@dataclass(slots=True, kw_only=True)
class ReconciliationResult:
    """The result of a comparison."""

    #: Events that were read.
    events: int = 0
    #: Of these, the events that the next worker counts, because no worker runs that owns their partition.
    uncounted: int = 0
    #: Rollups that were compared.
    rollups: int = 0
    #: The rollups that differed from the events, and how.
    different: dict[RollupKey, str] = field(default_factory=dict[RollupKey, str])
    #: Rollups that count fewer events than are stored, and cannot be repaired: MongoDB has deleted other events of
    #: their bucket.
    unrepairable: dict[RollupKey, str] = field(default_factory=dict[RollupKey, str])
    #: Rollups that may count events that were deleted because of their age: they must count the events that are left.
    aged_out: int = 0
    #: Rollups before the first stored event: their events were deleted, so they cannot be compared.
    older: int = 0
    #: Events without a time in the years 1 to 9999: they have no bucket.
    untimed: int = 0

    def add(self, other: ReconciliationResult) -> None:
        """Add the result of another range."""
        self.events += other.events
        self.uncounted += other.uncounted
        self.rollups += other.rollups
        self.aged_out += other.aged_out
        self.different.update(other.different)
        self.unrepairable.update(other.unrepairable)

    @property
    def is_good(self) -> bool:
        """Whether no rollup differs."""
        return not self.different and not self.unrepairable
