"""Plan a rewind: to which offset of each partition a consumer group goes back, so that it reads records again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from streamapp.errors import StreamappError


class PartitionRewind(NamedTuple):
    """The rewind of one partition."""

    partition: int
    #: The first offset that Kafka still has.
    first: int
    #: None if the group has never committed an offset: it begins with the first record in any case.
    committed: int | None
    #: The next offset that the group reads after the rewind; None if it stays where it is.
    to: int | None

    @property
    def offsets(self) -> int:
        """The number of offsets that are read again; some of them may have no record."""
        return 0 if self.to is None or self.committed is None else self.committed - self.to


def plan(
    bounds: Mapping[int, tuple[int, int]], committed: Mapping[int, int], wanted: Mapping[int, int | None]
) -> Sequence[PartitionRewind]:
    """Plan the rewind of all partitions.

    Args:
        bounds: the first offset and the end offset of each partition.
        committed: the committed offset of each partition that has one.
        wanted: the first offset that is wanted again; None or no entry if there are none.
    """
    return [
        _planned(partition, first, committed.get(partition), wanted.get(partition))
        for partition, (first, _) in sorted(bounds.items())
    ]


def _planned(partition: int, first: int, committed: int | None, wanted: int | None) -> PartitionRewind:
    to = None if wanted is None else max(wanted, first)
    # Never forward: the group would skip records that it has not read.
    is_back = to is not None and committed is not None and to < committed
    return PartitionRewind(partition, first, committed, to if is_back else None)


def check_offsets(
    wanted: Mapping[int, int], bounds: Mapping[int, tuple[int, int]], committed: Mapping[int, int]
) -> None:
    """Raise StreamappError for an offset that a user gives for no partition, or beyond the committed offset."""
    for partition, offset in wanted.items():
        if partition not in bounds:
            numbers = ", ".join(map(str, sorted(bounds)))
            raise StreamappError(f"The topic has no partition {partition}; its partitions are {numbers}.")
        if offset > committed.get(partition, 0):
            at = committed.get(partition)
            known = "the group has committed no offset" if at is None else f"the group has committed offset {at}"
            raise StreamappError(
                f"Offset {offset} of partition {partition} cannot be a target: {known} there, and a rewind only goes"
                " back. The group would skip records."
            )


def remaining(plan: Iterable[PartitionRewind], committed: Mapping[int, int]) -> int:
    """The number of offsets that the group has still to read again."""
    return sum(max(0, (each.committed or 0) - committed.get(each.partition, 0)) for each in plan if each.to is not None)
