"""To which offsets a group goes back."""

from __future__ import annotations

import pytest

from streamapp.errors import StreamappError
from streamapp.kafka.rewind import PartitionRewind, check_offsets, plan, remaining


def test_the_group_only_goes_back() -> None:
    """Neither forward, nor where it has read nothing, nor where nothing is wanted."""
    bounds = dict.fromkeys(range(5), (10, 90))

    planned = plan(bounds, {0: 50, 1: 50, 2: 50, 4: 50}, {0: 20, 1: 50, 2: 70, 3: 20, 4: None})

    assert planned == [
        PartitionRewind(0, first=10, committed=50, to=20),
        PartitionRewind(1, first=10, committed=50, to=None),
        PartitionRewind(2, first=10, committed=50, to=None),
        PartitionRewind(3, first=10, committed=None, to=None),
        PartitionRewind(4, first=10, committed=50, to=None),
    ]
    assert [30, 0, 0, 0, 0] == [each.offsets for each in planned]


def test_it_goes_back_to_what_kafka_still_has() -> None:
    """Offsets before the first retained one are deleted; if the group has not even read that far, it stays."""
    assert plan({0: (10, 90), 1: (60, 90)}, {0: 50, 1: 50}, {0: 0, 1: 0}) == [
        PartitionRewind(0, first=10, committed=50, to=10),
        PartitionRewind(1, first=60, committed=50, to=None),
    ]


def test_a_partition_that_is_not_named_stays() -> None:
    """As with --to-offset."""
    (_, other) = plan({0: (0, 9), 1: (0, 9)}, {0: 9, 1: 9}, {0: 3})
    assert other.to is None


def test_what_is_left_to_read_again() -> None:
    """Down to none; a partition without an offset now is read from its beginning."""
    planned = plan({0: (0, 90), 1: (0, 90), 2: (0, 90)}, {0: 50, 1: 40, 2: 90}, {0: 20, 1: 0})

    assert remaining(planned, {0: 20, 1: 0, 2: 90}) == 30 + 40
    assert remaining(planned, {0: 45, 2: 90}) == 5 + 40
    assert remaining(planned, {0: 60, 1: 40}) == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({2: 0}, "The topic has no partition 2; its partitions are 0, 1."),
        ({0: 51}, "Offset 51 of partition 0 cannot be a target: the group has committed offset 50"),
        ({1: 1}, "Offset 1 of partition 1 cannot be a target: the group has committed no offset"),
    ],
)
def test_offsets_that_cannot_be_a_target(wanted: dict[int, int], expected: str) -> None:
    """The message says why."""
    with pytest.raises(StreamappError, match=expected):
        check_offsets(wanted, {0: (10, 90), 1: (10, 90)}, {0: 50})


def test_offsets_that_can_be_a_target() -> None:
    """Up to the committed offset, also deleted ones."""
    check_offsets({0: 50, 1: 0}, {0: (10, 90), 1: (10, 90)}, {0: 50})
