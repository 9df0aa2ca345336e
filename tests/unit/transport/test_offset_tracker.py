"""Whatever the order of acks, rebalances, failures and holes: commits equal those of single records."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamapp.transport.offset_tracker import InFlightBatch, OffsetTracker

A, B = ("user_events", 0), ("user_events", 1)
MAX_BYTES = 4_000
HELD_BYTES = 10


@dataclass
class SingleRecords:
    """A partition read and acked record by record: what the stock driver does when it is right."""

    #: What the broker holds for the group.
    broker: int | None = None
    #: Nothing below is still to be read.
    position: int | None = None
    #: Everything below is done.
    done: int | None = None
    #: Records read beyond that, in order, and whether each is acked.
    acked: dict[int, bool] = field(default_factory=dict)

    def begin(self, position: int | None) -> None:
        """Read from here on."""
        self.position = self.done = position
        self.acked = {}

    def reach(self, position: int) -> None:
        """Find nothing more below `position`."""
        self.position = position
        self.settle()

    def ack(self, offsets: range) -> None:
        """Ack records one by one."""
        for offset in offsets:
            self.acked[offset] = True
            self.settle()

    def settle(self) -> None:
        """Let go of the records that are acked without one before them missing."""
        while self.acked and self.acked[first := min(self.acked)]:
            del self.acked[first]
            self.done = first + 1
        if not self.acked:
            self.done = self.position


class Bookkeeping(RuleBasedStateMachine):
    """Random lives of two partitions in one ledger, beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.models = {A: SingleRecords(), B: SingleRecords()}
        self.in_flight: list[tuple[tuple[str, int], InFlightBatch, range, int]] = []
        self.stale: list[InFlightBatch] = []
        self.rewinds = self.empty = 0
        self.restart()

    @rule()
    def restart(self) -> None:
        """Begin with an empty memory, as after kill -9."""
        self.offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=1_000)
        self.rewinds = self.empty = 0
        self.rebalance()

    @rule()
    def rebalance(self) -> None:
        """Get the same partitions again, in a new generation."""
        self.stale += [batch for _, batch, _, _ in self.in_flight]
        self.in_flight = []
        for model in self.models.values():
            model.begin(model.broker)
        self.offset_tracker.assign({tp: model.broker for tp, model in self.models.items()})

    @rule(tp=st.sampled_from([A, B]), hole=st.integers(0, 3), records=st.integers(0, 9), tail=st.integers(0, 2))
    def fetch(self, tp: tuple[str, int], hole: int, records: int, tail: int) -> None:
        """Fetch records behind a hole and before a control record, in batches of at most four."""
        model = self.models[tp]
        before = 0 if model.position is None else model.position
        first = before + hole
        assert not self.offset_tracker.goes_back(tp, before)
        assert self.offset_tracker.lose_up_to(tp, before) == 0
        for begin in range(first, first + records, 4):
            offsets = range(begin, min(begin + 4, first + records))
            size = len(offsets) * HELD_BYTES
            batch = self.offset_tracker.deliver(tp, end=offsets.stop, records=len(offsets), size=size)
            model.acked |= dict.fromkeys(offsets, False)
            self.in_flight.append((tp, batch, offsets, size))
        after = (first if records else before) + records + tail
        self.offset_tracker.reach(tp, after)
        self.empty += after - before - records
        model.reach(after)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Forget the records of any outstanding batch, perhaps once more."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        tp, batch, offsets, _ = self.in_flight[index]
        self.offset_tracker.forget_records(batch, left=len(offsets))
        self.in_flight[index] = (tp, batch, offsets, len(offsets))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        """Ack any outstanding batch, in any order."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        tp, batch, offsets, _ = self.in_flight.pop(index)
        assert self.offset_tracker.ack(batch)
        self.models[tp].ack(offsets)
        self.stale.append(batch)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def news_of_another_generation(self, data: st.DataObject) -> None:
        """Forget and ack what was acked before, or belongs to an earlier generation or life: nothing happens."""
        before = [self.offset_tracker.committable(tp) for tp in (A, B)], self.offset_tracker.in_flight_bytes
        batch = data.draw(st.sampled_from(self.stale))

        assert not self.offset_tracker.forget_records(batch, left=0)
        assert not self.offset_tracker.ack(batch)

        assert before == ([self.offset_tracker.committable(tp) for tp in (A, B)], self.offset_tracker.in_flight_bytes)

    @rule(succeeds=st.booleans())
    def commit(self, *, succeeds: bool) -> None:
        """Commit, or fail to: then the same is committed next time."""
        offsets = {tp: self.offset_tracker.committable(tp) for tp in self.offset_tracker.committable_partitions()}
        assert offsets == {tp: self.offset_tracker.committable(tp) for tp in offsets}
        if succeeds:
            self.offset_tracker.confirm(offsets)
            for tp, offset in offsets.items():
                self.models[tp].broker = offset
            assert not list(self.offset_tracker.committable_partitions())

    @precondition(lambda self: self.models[A].position)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        """Find the topic deleted and re-created, or its offsets reset."""
        model = self.models[A]
        position = data.draw(st.integers(0, model.position - 1))
        assert self.offset_tracker.goes_back(A, position)
        self.offset_tracker.rewind(A, position)
        self.rewinds += 1
        model.begin(position)
        self.stale += [batch for tp, batch, _, _ in self.in_flight if tp == A]
        self.in_flight = [entry for entry in self.in_flight if entry[0] != A]

    @invariant()
    def commits_equal_those_of_single_records(self) -> None:
        """The broker will hold exactly what single acks would have committed, and never more."""
        for tp, model in self.models.items():
            committable = self.offset_tracker.committable(tp)
            will_hold = model.broker if committable is None else committable
            assert (will_hold or 0) == (model.done or 0)
            assert not model.acked or (will_hold or 0) <= min(model.acked)

    @invariant()
    def counts_are_right(self) -> None:
        """Bytes and batches in flight are those that are not acked."""
        assert self.offset_tracker.in_flight_bytes == sum(size for *_, size in self.in_flight)
        assert self.offset_tracker.in_flight_batches == len(self.in_flight)
        assert (self.offset_tracker.rewinds, self.offset_tracker.empty_offsets) == (self.rewinds, self.empty)

    def teardown(self) -> None:
        """When everything is acked, nothing is held and everything read is committed."""
        for tp, batch, offsets, _ in self.in_flight:
            self.offset_tracker.ack(batch)
            self.models[tp].ack(offsets)
        self.in_flight = []
        self.commit(succeeds=True)

        assert self.offset_tracker.in_flight_bytes == 0
        assert all((model.broker or 0) == (model.position or 0) for model in self.models.values())


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=60, stateful_step_count=40)


def a_ledger(*, max_bytes: int = MAX_BYTES, max_batches: int = 1_000, partitions: int = 2) -> OffsetTracker:
    """Return a ledger that holds partitions of one topic."""
    offset_tracker = OffsetTracker(max_bytes=max_bytes, max_batches=max_batches)
    offset_tracker.assign({("user_events", partition): 0 for partition in range(partitions)})
    return offset_tracker


@given(data=st.data(), partitions=st.integers(1, 6))
def test_bound_holds_and_nobody_starves(data: st.DataObject, partitions: int) -> None:
    """Whatever fetches take of what they may, and whoever acks or forgets when: not more is held, and all go on."""
    offset_tracker = a_ledger(max_bytes=60_000, partitions=partitions)
    held: dict[tuple[str, int], list[InFlightBatch]] = {("user_events", number): [] for number in range(partitions)}
    for _ in range(data.draw(st.integers(1, 8))):
        for tp, budget in offset_tracker.budgets().items():
            size = data.draw(st.integers(0, budget) | st.just(budget))
            held[tp].append(offset_tracker.deliver(tp, end=len(held[tp]) + 1, records=1, size=size))
        assert offset_tracker.in_flight_bytes <= 60_000
        for batches in held.values():
            for batch in batches:
                if data.draw(st.booleans()):
                    offset_tracker.forget_records(batch, left=data.draw(st.integers(0, 100_000)))
                if data.draw(st.booleans()):
                    offset_tracker.ack(batch)
        idle = {tp for tp, batches in held.items() if all(batch.acked for batch in batches)}
        assert idle <= offset_tracker.budgets().keys()


def test_stuck_partition_leaves_the_others_their_share() -> None:
    """A partition whose batches are never acked fills its share and what it can borrow, not that of another."""
    offset_tracker = a_ledger()
    end = 0
    while budget := offset_tracker.budgets().get(A):
        end += 1
        offset_tracker.deliver(A, end=end, records=1, size=budget)

    assert MAX_BYTES // 2 < offset_tracker.in_flight_bytes <= MAX_BYTES * 3 // 4
    assert offset_tracker.budgets()[B] >= MAX_BYTES // 4


def test_busy_partition_has_what_idle_ones_leave() -> None:
    """One of many may hold a quarter of the bound, in batches worth their while."""
    offset_tracker = a_ledger(max_bytes=1_000_000, max_batches=5_000, partitions=50)
    end = 0
    while budget := offset_tracker.budgets().get(A):
        assert budget >= 1_000_000 // (4 * 50)
        end += 1
        offset_tracker.deliver(A, end=end, records=1, size=budget)

    assert offset_tracker.in_flight_bytes >= 250_000


def test_forgotten_records_make_room() -> None:
    """What is left counts, but never for more than they did."""
    offset_tracker = a_ledger(max_bytes=10_000)
    large = offset_tracker.deliver(A, end=1, records=1, size=1_000_000)
    small = offset_tracker.deliver(A, end=2, records=1, size=100)
    assert A not in offset_tracker.budgets()

    assert offset_tracker.forget_records(large, left=2_000)
    assert not offset_tracker.forget_records(small, left=200)

    assert offset_tracker.in_flight_bytes == 2_100
    assert A in offset_tracker.budgets()


def test_slice_larger_than_the_bound_passes_when_nothing_is_in_flight() -> None:
    """One record larger than the bound is read, and nothing else of its partition until it is acked."""
    offset_tracker = a_ledger(max_bytes=10)
    assert A in offset_tracker.budgets()

    batch = offset_tracker.deliver(A, end=1, records=1, size=1_000_000)
    assert A not in offset_tracker.budgets()
    assert B in offset_tracker.budgets()
    offset_tracker.ack(batch)

    assert A in offset_tracker.budgets()


def test_partition_with_many_small_slices_is_full() -> None:
    """Batches count too: thousands of tiny ones would fill Faust's queue, which every topic shares."""
    offset_tracker = a_ledger(max_batches=4)
    first = offset_tracker.deliver(A, end=1, records=1, size=1)
    later = offset_tracker.deliver(A, end=2, records=1, size=1)
    offset_tracker.ack(later)
    assert A not in offset_tracker.budgets()

    offset_tracker.ack(first)

    assert A in offset_tracker.budgets()


def test_partition_that_is_not_ours_gets_nothing_and_commits_nothing() -> None:
    """After a revocation nothing is read or committed."""
    offset_tracker = a_ledger()
    offset_tracker.deliver(A, end=1, records=1, size=1)

    offset_tracker.drop()

    assert (
        offset_tracker.budgets(),
        offset_tracker.committable(A),
        A in offset_tracker,
        offset_tracker.in_flight_bytes,
    ) == ({}, None, False, 0)
    offset_tracker.confirm({A: 1})


def test_untouched_partition_commits_nothing() -> None:
    """A group that has read nothing leaves no committed offset of 0 behind."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: None})

    offset_tracker.lose_up_to(A, 0)
    offset_tracker.reach(A, 0)

    assert list(offset_tracker.committable_partitions()) == []


def test_offsets_without_a_record_are_counted() -> None:
    """Before a batch, in it and behind it; not what lies before the first read."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: None, B: 5})
    offset_tracker.lose_up_to(A, 100)

    offset_tracker.deliver(A, end=110, records=7, size=1)
    offset_tracker.deliver(B, end=10, records=4, size=1)
    offset_tracker.reach(A, 115)

    assert (3 + 1 + 5, 0) == (offset_tracker.empty_offsets, offset_tracker.deleted_offsets)


def test_a_slice_begins_where_the_one_before_it_ended() -> None:
    """Whatever lies between them; the first one where the assignment began, or the offsets went back to."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: 5, B: None})
    offset_tracker.lose_up_to(A, 8)
    begins = [offset_tracker.deliver(A, end=end, records=2, size=1).begin for end in (10, 20)]
    offset_tracker.reach(A, 25)
    begins += [offset_tracker.deliver(tp, end=end, records=3, size=1).begin for tp, end in ((A, 30), (B, 3))]
    offset_tracker.rewind(A, 2)

    assert [5, 10, 20, None, 2] == [*begins, offset_tracker.deliver(A, end=7, records=5, size=1).begin]


def test_offsets_that_were_deleted_are_told_apart() -> None:
    """Their records are lost, and no other offsets are."""
    offset_tracker = OffsetTracker(max_bytes=MAX_BYTES, max_batches=10)
    offset_tracker.assign({A: 5})

    assert offset_tracker.lose_up_to(A, 8) == 3
    offset_tracker.deliver(A, end=10, records=1, size=1)

    assert (3, 1) == (offset_tracker.deleted_offsets, offset_tracker.empty_offsets)
