"""Whatever the order of acks, rebalances, failures and holes: commits equal those of single records."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamapp.transport.offset_tracker import RECORD_OVERHEAD_BYTES, Ledger, Outstanding, cut, size

A, B = ("user_events", 0), ("user_events", 1)
MAX_BYTES = 4_000
HELD_BYTES = 10


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """As much of a record as takes up memory."""

    value: bytes | None = b""
    key: bytes | None = None


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
        self.in_flight: list[tuple[tuple[str, int], Outstanding, range, int]] = []
        self.stale: list[Outstanding] = []
        self.rewinds = self.empty = 0
        self.restart()

    @rule()
    def restart(self) -> None:
        """Begin with an empty memory, as after kill -9."""
        self.ledger = Ledger(max_bytes=MAX_BYTES, max_slices=1_000)
        self.rewinds = self.empty = 0
        self.rebalance()

    @rule()
    def rebalance(self) -> None:
        """Get the same partitions again, in a new generation."""
        self.stale += [slice_ for _, slice_, _, _ in self.in_flight]
        self.in_flight = []
        for model in self.models.values():
            model.begin(model.broker)
        self.ledger.assign({tp: model.broker for tp, model in self.models.items()})

    @rule(tp=st.sampled_from([A, B]), hole=st.integers(0, 3), records=st.integers(0, 9), tail=st.integers(0, 2))
    def fetch(self, tp: tuple[str, int], hole: int, records: int, tail: int) -> None:
        """Fetch records behind a hole and before a control record, in slices of at most four."""
        model = self.models[tp]
        before = 0 if model.position is None else model.position
        first = before + hole
        assert not self.ledger.goes_back(tp, before)
        assert self.ledger.lose_up_to(tp, before) == 0
        for begin in range(first, first + records, 4):
            offsets = range(begin, min(begin + 4, first + records))
            size = len(offsets) * HELD_BYTES
            slice_ = self.ledger.deliver(tp, end=offsets.stop, records=len(offsets), size=size)
            model.acked |= dict.fromkeys(offsets, False)
            self.in_flight.append((tp, slice_, offsets, size))
        after = (first if records else before) + records + tail
        self.ledger.reach(tp, after)
        self.empty += after - before - records
        model.reach(after)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Forget the records of any outstanding slice, perhaps once more."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        tp, slice_, offsets, _ = self.in_flight[index]
        self.ledger.forget_records(slice_, left=len(offsets))
        self.in_flight[index] = (tp, slice_, offsets, len(offsets))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        """Ack any outstanding slice, in any order."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        tp, slice_, offsets, _ = self.in_flight.pop(index)
        assert self.ledger.ack(slice_)
        self.models[tp].ack(offsets)
        self.stale.append(slice_)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def news_of_another_generation(self, data: st.DataObject) -> None:
        """Forget and ack what was acked before, or belongs to an earlier generation or life: nothing happens."""
        before = [self.ledger.committable(tp) for tp in (A, B)], self.ledger.in_flight_bytes
        slice_ = data.draw(st.sampled_from(self.stale))

        assert not self.ledger.forget_records(slice_, left=0)
        assert not self.ledger.ack(slice_)

        assert before == ([self.ledger.committable(tp) for tp in (A, B)], self.ledger.in_flight_bytes)

    @rule(succeeds=st.booleans())
    def commit(self, *, succeeds: bool) -> None:
        """Commit, or fail to: then the same is committed next time."""
        offsets = {tp: self.ledger.committable(tp) for tp in self.ledger.committable_partitions()}
        assert offsets == {tp: self.ledger.committable(tp) for tp in offsets}
        if succeeds:
            self.ledger.confirm(offsets)
            for tp, offset in offsets.items():
                self.models[tp].broker = offset
            assert not list(self.ledger.committable_partitions())

    @precondition(lambda self: self.models[A].position)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        """Find the topic made anew, or its offsets reset."""
        model = self.models[A]
        position = data.draw(st.integers(0, model.position - 1))
        assert self.ledger.goes_back(A, position)
        self.ledger.rewind(A, position)
        self.rewinds += 1
        model.begin(position)
        self.stale += [slice_ for tp, slice_, _, _ in self.in_flight if tp == A]
        self.in_flight = [entry for entry in self.in_flight if entry[0] != A]

    @invariant()
    def commits_equal_those_of_single_records(self) -> None:
        """The broker will hold exactly what single acks would have committed, and never more."""
        for tp, model in self.models.items():
            committable = self.ledger.committable(tp)
            will_hold = model.broker if committable is None else committable
            assert (will_hold or 0) == (model.done or 0)
            assert not model.acked or (will_hold or 0) <= min(model.acked)

    @invariant()
    def counts_are_right(self) -> None:
        """Bytes and slices in flight are those that are not acked."""
        assert self.ledger.in_flight_bytes == sum(size for *_, size in self.in_flight)
        assert self.ledger.in_flight_slices == len(self.in_flight)
        assert (self.ledger.rewinds, self.ledger.empty_offsets) == (self.rewinds, self.empty)

    def teardown(self) -> None:
        """When everything is acked, nothing is held and everything read is committed."""
        for tp, slice_, offsets, _ in self.in_flight:
            self.ledger.ack(slice_)
            self.models[tp].ack(offsets)
        self.in_flight = []
        self.commit(succeeds=True)

        assert self.ledger.in_flight_bytes == 0
        assert all((model.broker or 0) == (model.position or 0) for model in self.models.values())


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def a_ledger(*, max_bytes: int = MAX_BYTES, max_slices: int = 1_000, partitions: int = 2) -> Ledger:
    """Return a ledger that holds partitions of one topic."""
    ledger = Ledger(max_bytes=max_bytes, max_slices=max_slices)
    ledger.assign({("user_events", partition): 0 for partition in range(partitions)})
    return ledger


@given(data=st.data(), partitions=st.integers(1, 6))
def test_bound_holds_and_nobody_starves(data: st.DataObject, partitions: int) -> None:
    """Whatever fetches take of what they may, and whoever acks or forgets when: not more is held, and all go on."""
    ledger = a_ledger(max_bytes=60_000, partitions=partitions)
    held: dict[tuple[str, int], list[Outstanding]] = {("user_events", number): [] for number in range(partitions)}
    for _ in range(data.draw(st.integers(1, 8))):
        for tp, budget in ledger.budgets().items():
            size = data.draw(st.integers(0, budget) | st.just(budget))
            held[tp].append(ledger.deliver(tp, end=len(held[tp]) + 1, records=1, size=size))
        assert ledger.in_flight_bytes <= 60_000
        for slices in held.values():
            for slice_ in slices:
                if data.draw(st.booleans()):
                    ledger.forget_records(slice_, left=data.draw(st.integers(0, 100_000)))
                if data.draw(st.booleans()):
                    ledger.ack(slice_)
        idle = {tp for tp, slices in held.items() if all(slice_.acked for slice_ in slices)}
        assert idle <= ledger.budgets().keys()


def test_stuck_partition_leaves_the_others_their_share() -> None:
    """A partition whose slices are never acked fills its share and what it can borrow, not that of another."""
    ledger = a_ledger()
    end = 0
    while budget := ledger.budgets().get(A):
        end += 1
        ledger.deliver(A, end=end, records=1, size=budget)

    assert MAX_BYTES // 2 < ledger.in_flight_bytes <= MAX_BYTES * 3 // 4
    assert ledger.budgets()[B] >= MAX_BYTES // 4


def test_busy_partition_has_what_idle_ones_leave() -> None:
    """One of many may hold a quarter of the bound, in slices worth their while."""
    ledger = a_ledger(max_bytes=1_000_000, max_slices=5_000, partitions=50)
    end = 0
    while budget := ledger.budgets().get(A):
        assert budget >= 1_000_000 // (4 * 50)
        end += 1
        ledger.deliver(A, end=end, records=1, size=budget)

    assert ledger.in_flight_bytes >= 250_000


def test_forgotten_records_make_room() -> None:
    """What is left counts, but never for more than they did."""
    ledger = a_ledger(max_bytes=10_000)
    large = ledger.deliver(A, end=1, records=1, size=1_000_000)
    small = ledger.deliver(A, end=2, records=1, size=100)
    assert A not in ledger.budgets()

    assert ledger.forget_records(large, left=2_000)
    assert not ledger.forget_records(small, left=200)

    assert ledger.in_flight_bytes == 2_100
    assert A in ledger.budgets()


def test_slice_larger_than_the_bound_passes_when_nothing_is_in_flight() -> None:
    """One record larger than the bound is read, and nothing else of its partition until it is acked."""
    ledger = a_ledger(max_bytes=10)
    assert A in ledger.budgets()

    slice_ = ledger.deliver(A, end=1, records=1, size=1_000_000)
    assert A not in ledger.budgets()
    assert B in ledger.budgets()
    ledger.ack(slice_)

    assert A in ledger.budgets()


def test_partition_with_many_small_slices_is_full() -> None:
    """Slices count too: thousands of tiny ones would fill Faust's queue, which every topic shares."""
    ledger = a_ledger(max_slices=4)
    first = ledger.deliver(A, end=1, records=1, size=1)
    later = ledger.deliver(A, end=2, records=1, size=1)
    ledger.ack(later)
    assert A not in ledger.budgets()

    ledger.ack(first)

    assert A in ledger.budgets()


def test_partition_that_is_not_ours_gets_nothing_and_commits_nothing() -> None:
    """After a revocation nothing is read or committed."""
    ledger = a_ledger()
    ledger.deliver(A, end=1, records=1, size=1)

    ledger.drop()

    assert (ledger.budgets(), ledger.committable(A), A in ledger, ledger.in_flight_bytes) == ({}, None, False, 0)
    ledger.confirm({A: 1})


def test_untouched_partition_commits_nothing() -> None:
    """A group that has read nothing leaves no committed offset of 0 behind."""
    ledger = Ledger(max_bytes=MAX_BYTES, max_slices=10)
    ledger.assign({A: None})

    ledger.lose_up_to(A, 0)
    ledger.reach(A, 0)

    assert list(ledger.committable_partitions()) == []


def test_offsets_without_a_record_are_counted() -> None:
    """Before a slice, in it and behind it; not what lies before the first read."""
    ledger = Ledger(max_bytes=MAX_BYTES, max_slices=10)
    ledger.assign({A: None, B: 5})
    ledger.lose_up_to(A, 100)

    ledger.deliver(A, end=110, records=7, size=1)
    ledger.deliver(B, end=10, records=4, size=1)
    ledger.reach(A, 115)

    assert (3 + 1 + 5, 0) == (ledger.empty_offsets, ledger.deleted_offsets)


def test_a_slice_begins_where_the_one_before_it_ended() -> None:
    """Whatever lies between them; the first one where the assignment began, or the offsets went back to."""
    ledger = Ledger(max_bytes=MAX_BYTES, max_slices=10)
    ledger.assign({A: 5, B: None})
    ledger.lose_up_to(A, 8)
    begins = [ledger.deliver(A, end=end, records=2, size=1).begin for end in (10, 20)]
    ledger.reach(A, 25)
    begins += [ledger.deliver(tp, end=end, records=3, size=1).begin for tp, end in ((A, 30), (B, 3))]
    ledger.rewind(A, 2)

    assert [5, 10, 20, None, 2] == [*begins, ledger.deliver(A, end=7, records=5, size=1).begin]


def test_offsets_that_were_deleted_are_told_apart() -> None:
    """Their records are lost, and no other offsets are."""
    ledger = Ledger(max_bytes=MAX_BYTES, max_slices=10)
    ledger.assign({A: 5})

    assert ledger.lose_up_to(A, 8) == 3
    ledger.deliver(A, end=10, records=1, size=1)

    assert (3, 1) == (ledger.deleted_offsets, ledger.empty_offsets)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=30)), max_size=60), st.integers(1, 10), st.integers(1, 100))
def test_cut_keeps_order_and_limits(values: list[bytes | None], max_records: int, max_bytes: int) -> None:
    """Slices hold every record once, in order, within the limits; only a single record may be larger."""
    records = [FakeRecord(value=value) for value in values]

    slices = list(cut(records, max_records=max_records, max_bytes=max_bytes))

    assert [record for slice_ in slices for record in slice_] == records
    for slice_ in slices:
        assert 1 <= len(slice_) <= max_records
        assert len(slice_) == 1 or sum(len(record.value or b"") for record in slice_) <= max_bytes


@pytest.mark.parametrize(
    ("record", "expected"), [(FakeRecord(b"1234", b"12"), 6), (FakeRecord(None), 0), (FakeRecord(b"", b""), 0)]
)
def test_size_counts_key_value_and_overhead(record: FakeRecord, expected: int) -> None:
    """Empty records take up memory too."""
    assert size(record) == RECORD_OVERHEAD_BYTES + expected
