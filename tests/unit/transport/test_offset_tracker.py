"""For any order of acks, rebalances, failures and gaps, commits equal those of single records."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamapp.transport.offset_tracker import InFlightBatch, OffsetTracker

A, B = ("user_events", 0), ("user_events", 1)
MAX_BYTES = 4_000
RECORD_BYTES = 10


@dataclass
class SingleRecords:
    """The model: a partition that is read and acknowledged record by record."""

    #: The committed offset of the group.
    broker: int | None = None
    #: All below was read.
    position: int | None = None
    #: All below is acknowledged.
    done: int | None = None
    #: Records above that, in order, and whether each is acknowledged.
    is_acked: dict[int, bool] = field(default_factory=dict)

    def begin(self, position: int | None) -> None:
        """Read from `position` on."""
        self.position = self.done = position
        self.is_acked = {}

    def advance_position(self, position: int) -> None:
        """Note that no record below `position` is still to come."""
        self.position = position
        self.settle()

    def ack(self, offsets: range) -> None:
        """Acknowledge records one by one."""
        for offset in offsets:
            self.is_acked[offset] = True
            self.settle()

    def settle(self) -> None:
        """Move `done` to the end of the acknowledged prefix."""
        while self.is_acked and self.is_acked[first := min(self.is_acked)]:
            del self.is_acked[first]
            self.done = first + 1
        if not self.is_acked:
            self.done = self.position


class Bookkeeping(RuleBasedStateMachine):
    """Random operations on two partitions of one tracker, compared with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.models = {A: SingleRecords(), B: SingleRecords()}
        self.in_flight: list[tuple[tuple[str, int], InFlightBatch, range, int]] = []
        self.stale: list[InFlightBatch] = []
        self.rewinds = self.empty = 0
        self.restart()

    @rule()
    def restart(self) -> None:
        """Start with an empty tracker, as after kill -9."""
        self.offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=1_000)
        self.rewinds = self.empty = 0
        self.rebalance()

    @rule()
    def rebalance(self) -> None:
        """Assign the same partitions again, in a new generation."""
        self.stale += [batch for _, batch, _, _ in self.in_flight]
        self.in_flight = []
        for model in self.models.values():
            model.begin(model.broker)
        self.offset_tracker.assign({tp: model.broker for tp, model in self.models.items()})

    @rule(tp=st.sampled_from([A, B]), gap=st.integers(0, 3), records=st.integers(0, 9), tail=st.integers(0, 2))
    def fetch(self, tp: tuple[str, int], gap: int, records: int, tail: int) -> None:
        """Fetch records after a gap and before control records, in batches of at most four."""
        model = self.models[tp]
        before = 0 if model.position is None else model.position
        first = before + gap
        assert not self.offset_tracker.is_behind(tp, before)
        assert self.offset_tracker.skip_deleted(tp, before) == 0
        for begin in range(first, first + records, 4):
            offsets = range(begin, min(begin + 4, first + records))
            size = len(offsets) * RECORD_BYTES
            batch = self.offset_tracker.deliver(tp, end=offsets.stop, records=len(offsets), size=size)
            model.is_acked |= dict.fromkeys(offsets, False)
            self.in_flight.append((tp, batch, offsets, size))
        after = (first if records else before) + records + tail
        self.offset_tracker.advance_position(tp, after)
        self.empty += after - before - records
        model.advance_position(after)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Release the records of any batch in flight, perhaps a second time."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        tp, batch, offsets, _ = self.in_flight[index]
        self.offset_tracker.release_records(batch, remaining_bytes=len(offsets))
        self.in_flight[index] = (tp, batch, offsets, len(offsets))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        """Acknowledge any batch in flight, in any order."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        tp, batch, offsets, _ = self.in_flight.pop(index)
        assert self.offset_tracker.ack(batch)
        self.models[tp].ack(offsets)
        self.stale.append(batch)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def release_and_ack_of_an_earlier_assignment(self, data: st.DataObject) -> None:
        """Neither changes anything, nor does a second acknowledgement."""
        before = [self.offset_tracker.committable(tp) for tp in (A, B)], self.offset_tracker.in_flight_bytes
        batch = data.draw(st.sampled_from(self.stale))

        assert not self.offset_tracker.release_records(batch, remaining_bytes=0)
        assert not self.offset_tracker.ack(batch)

        assert before == ([self.offset_tracker.committable(tp) for tp in (A, B)], self.offset_tracker.in_flight_bytes)

    @rule(succeeds=st.booleans())
    def commit(self, *, succeeds: bool) -> None:
        """Commit; after a failure the same offsets are committed next time."""
        offsets = {tp: self.offset_tracker.committable(tp) for tp in self.offset_tracker.committable_partitions()}
        assert offsets == {tp: self.offset_tracker.committable(tp) for tp in offsets}
        if succeeds:
            self.offset_tracker.mark_committed(offsets)
            for tp, offset in offsets.items():
                self.models[tp].broker = offset
            assert not list(self.offset_tracker.committable_partitions())

    @precondition(lambda self: self.models[A].position)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        """Read from a lower offset: the topic was deleted and re-created, or its offsets were reset."""
        model = self.models[A]
        position = data.draw(st.integers(0, model.position - 1))
        assert self.offset_tracker.is_behind(A, position)
        self.offset_tracker.rewind(A, position)
        self.rewinds += 1
        model.begin(position)
        self.stale += [batch for tp, batch, _, _ in self.in_flight if tp == A]
        self.in_flight = [entry for entry in self.in_flight if entry[0] != A]

    @invariant()
    def commits_equal_those_of_single_records(self) -> None:
        """The committed offset is that of the model, and below every record that is not acknowledged."""
        for tp, model in self.models.items():
            committable = self.offset_tracker.committable(tp)
            will_hold = model.broker if committable is None else committable
            assert (will_hold or 0) == (model.done or 0)
            assert not model.is_acked or (will_hold or 0) <= min(model.is_acked)

    @invariant()
    def counts_are_right(self) -> None:
        """Bytes and batches in flight are those that are not acknowledged."""
        assert self.offset_tracker.in_flight_bytes == sum(size for *_, size in self.in_flight)
        assert self.offset_tracker.in_flight_batches == len(self.in_flight)
        assert (self.offset_tracker.rewinds, self.offset_tracker.empty_offsets) == (self.rewinds, self.empty)

    def teardown(self) -> None:
        """Once all is acknowledged, no bytes are in flight and all that was read is committed."""
        for tp, batch, offsets, _ in self.in_flight:
            self.offset_tracker.ack(batch)
            self.models[tp].ack(offsets)
        self.in_flight = []
        self.commit(succeeds=True)

        assert self.offset_tracker.in_flight_bytes == 0
        assert all((model.broker or 0) == (model.position or 0) for model in self.models.values())


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=60, stateful_step_count=40)


def a_tracker(*, max_bytes: int = MAX_BYTES, max_batches: int = 1_000, partitions: int = 2) -> OffsetTracker:
    """Return a tracker with partitions of one topic."""
    offset_tracker = OffsetTracker(max_bytes=max_bytes, max_batches=max_batches)
    offset_tracker.assign({("user_events", partition): 0 for partition in range(partitions)})
    return offset_tracker


@given(data=st.data(), partitions=st.integers(1, 6))
def test_bytes_stay_bounded_and_no_partition_starves(data: st.DataObject, partitions: int) -> None:
    """For any sizes, releases and acks, the bound holds and an idle partition may always fetch."""
    offset_tracker = a_tracker(max_bytes=60_000, partitions=partitions)
    delivered: dict[tuple[str, int], list[InFlightBatch]] = {
        ("user_events", number): [] for number in range(partitions)
    }
    for _ in range(data.draw(st.integers(1, 8))):
        for tp, budget in offset_tracker.budgets().items():
            size = data.draw(st.integers(0, budget) | st.just(budget))
            delivered[tp].append(offset_tracker.deliver(tp, end=len(delivered[tp]) + 1, records=1, size=size))
        assert offset_tracker.in_flight_bytes <= 60_000
        for batches in delivered.values():
            for batch in batches:
                if data.draw(st.booleans()):
                    offset_tracker.release_records(batch, remaining_bytes=data.draw(st.integers(0, 100_000)))
                if data.draw(st.booleans()):
                    offset_tracker.ack(batch)
        idle = {tp for tp, batches in delivered.items() if all(batch.is_acked for batch in batches)}
        assert idle <= offset_tracker.budgets().keys()


def test_a_stuck_partition_leaves_the_share_of_the_others() -> None:
    """A partition whose batches are never acknowledged fills its own share and what it may borrow."""
    offset_tracker = a_tracker()
    end = 0
    while budget := offset_tracker.budgets().get(A):
        end += 1
        offset_tracker.deliver(A, end=end, records=1, size=budget)

    assert MAX_BYTES // 2 < offset_tracker.in_flight_bytes <= MAX_BYTES * 3 // 4
    assert offset_tracker.budgets()[B] >= MAX_BYTES // 4


def test_a_busy_partition_borrows_from_idle_ones() -> None:
    """One of many may have a quarter of the bound in flight, in batches that are not small."""
    offset_tracker = a_tracker(max_bytes=1_000_000, max_batches=5_000, partitions=50)
    end = 0
    while budget := offset_tracker.budgets().get(A):
        assert budget >= 1_000_000 // (4 * 50)
        end += 1
        offset_tracker.deliver(A, end=end, records=1, size=budget)

    assert offset_tracker.in_flight_bytes >= 250_000


def test_released_records_free_their_bytes() -> None:
    """The remaining bytes count, but never more than the records did."""
    offset_tracker = a_tracker(max_bytes=10_000)
    large = offset_tracker.deliver(A, end=1, records=1, size=1_000_000)
    small = offset_tracker.deliver(A, end=2, records=1, size=100)
    assert A not in offset_tracker.budgets()

    assert offset_tracker.release_records(large, remaining_bytes=2_000)
    assert not offset_tracker.release_records(small, remaining_bytes=200)

    assert offset_tracker.in_flight_bytes == 2_100
    assert A in offset_tracker.budgets()


def test_a_batch_larger_than_the_bound_is_read_when_nothing_is_in_flight() -> None:
    """Nothing else of its partition is read until it is acknowledged."""
    offset_tracker = a_tracker(max_bytes=10)
    assert A in offset_tracker.budgets()

    batch = offset_tracker.deliver(A, end=1, records=1, size=1_000_000)
    assert A not in offset_tracker.budgets()
    assert B in offset_tracker.budgets()
    offset_tracker.ack(batch)

    assert A in offset_tracker.budgets()


def test_the_number_of_batches_is_bounded() -> None:
    """Thousands of small batches would fill Faust's queue, which all topics share."""
    offset_tracker = a_tracker(max_batches=4)
    first = offset_tracker.deliver(A, end=1, records=1, size=1)
    later = offset_tracker.deliver(A, end=2, records=1, size=1)
    offset_tracker.ack(later)
    assert A not in offset_tracker.budgets()

    offset_tracker.ack(first)

    assert A in offset_tracker.budgets()


def test_a_revoked_partition_is_neither_read_nor_committed() -> None:
    """Its batches in flight no longer count."""
    offset_tracker = a_tracker()
    offset_tracker.deliver(A, end=1, records=1, size=1)

    offset_tracker.revoke_all()

    assert (
        offset_tracker.budgets(),
        offset_tracker.committable(A),
        A in offset_tracker,
        offset_tracker.in_flight_bytes,
    ) == ({}, None, False, 0)
    offset_tracker.mark_committed({A: 1})


def test_an_empty_partition_commits_nothing() -> None:
    """A group that has read no record has no committed offset of 0."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: None})

    offset_tracker.skip_deleted(A, 0)
    offset_tracker.advance_position(A, 0)

    assert list(offset_tracker.committable_partitions()) == []


def test_offsets_without_a_record_are_counted() -> None:
    """Before, within and after a batch; not those below the first position."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: None, B: 5})
    offset_tracker.skip_deleted(A, 100)

    offset_tracker.deliver(A, end=110, records=7, size=1)
    offset_tracker.deliver(B, end=10, records=4, size=1)
    offset_tracker.advance_position(A, 115)

    assert (3 + 1 + 5, 0) == (offset_tracker.empty_offsets, offset_tracker.deleted_offsets)


def test_a_batch_begins_where_the_one_before_it_ended() -> None:
    """The first batch begins at the start of the assignment, or at the position of a rewind."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: 5, B: None})
    offset_tracker.skip_deleted(A, 8)
    begins = [offset_tracker.deliver(A, end=end, records=2, size=1).begin for end in (10, 20)]
    offset_tracker.advance_position(A, 25)
    begins += [offset_tracker.deliver(tp, end=end, records=3, size=1).begin for tp, end in ((A, 30), (B, 3))]
    offset_tracker.rewind(A, 2)

    assert [5, 10, 20, None, 2] == [*begins, offset_tracker.deliver(A, end=7, records=5, size=1).begin]


def test_what_is_acknowledged_ends_before_the_first_batch_in_flight() -> None:
    """There a partition starts again whose later offsets Kafka has given to other records."""
    offset_tracker = OffsetTracker(max_bytes=100, max_batches=10)
    offset_tracker.assign({A: 50})
    assert 50 == offset_tracker.acknowledged_end(A)
    first = offset_tracker.deliver(A, end=80, records=30, size=1)
    second = offset_tracker.deliver(A, end=100, records=20, size=1)

    offset_tracker.ack(second)
    assert 50 == offset_tracker.acknowledged_end(A)
    offset_tracker.ack(first)
    assert 100 == offset_tracker.acknowledged_end(A)


def test_nothing_is_known_to_be_acknowledged_before_the_first_batch_of_a_new_group() -> None:
    offset_tracker = OffsetTracker(max_bytes=100, max_batches=10)
    offset_tracker.assign({A: None})
    assert 0 == offset_tracker.acknowledged_end(A)
    offset_tracker.deliver(A, end=80, records=30, size=1)
    assert 0 == offset_tracker.acknowledged_end(A)


def test_deleted_offsets_are_counted_apart_from_empty_ones() -> None:
    """Only deleted offsets are lost records."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: 5})

    assert offset_tracker.skip_deleted(A, 8) == 3
    offset_tracker.deliver(A, end=10, records=1, size=1)

    assert (3, 1) == (offset_tracker.deleted_offsets, offset_tracker.empty_offsets)
