"""Every record has one fate."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.decode import document
from streamapp.decode.document import Document, EventTimes
from streamapp.errors import AssignmentLost, DeadLetterTopicTooSmall, PoisonFlood
from streamapp.model.event import Event
from streamapp.model.record import DeadLetter, Origin, PartitionBatch, Reason
from streamapp.retry import OutageRetrier, RetryPolicy
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.writer import RollupWriter
from streamapp.sink.circuit_breaker import Breaker
from streamapp.sink.ports import Fates, Outcome, SinkOutages, SinkPorts
from streamapp.sink.settle import Sink
from tests.support.doubles.ports import (
    FakeDeadLetters,
    FakeEventStore,
    FakeObserver,
    FakeOutOfOrderStore,
    FakeRollupStore,
    FakeSchemas,
)
from tests.support.factories import (
    NOW,
    TOPIC_ID,
    V1,
    V2,
    FakeRecord,
    a_batch,
    a_letter,
    a_record,
    an_event,
    replayed,
    wire,
)


class World:
    """A sink with its doubles; retries do not wait."""

    def __init__(
        self,
        breaker: Breaker | None = None,
        store: FakeEventStore | None = None,
        schemas: FakeSchemas | None = None,
        rollups: FakeRollupStore | None = None,
        dead_letters: FakeDeadLetters | None = None,
    ) -> None:
        self.store = store or FakeEventStore()
        self.schemas = schemas or FakeSchemas(V1, V2)
        self.rollups = rollups or FakeRollupStore()
        self.dead_letters = dead_letters or FakeDeadLetters()
        self.observer = FakeObserver()
        quick = RetryPolicy(first_wait=0, max_wait=0)
        self.store_outages = outages = OutageRetrier("MongoDB", policy=quick)
        ports = SinkPorts(
            schemas=self.schemas,
            events=self.store,
            out_of_order=FakeOutOfOrderStore(self.store, self.rollups),
            dead_letters=self.dead_letters,
            observer=self.observer,
            stopwatch=itertools.count().__next__,
        )
        self.sink = Sink(
            ports,
            outages=SinkOutages(store=outages, dead_letters=OutageRetrier("the dead-letter topic", policy=quick)),
            rollup_writer=RollupWriter(
                self.rollups, outages=outages, keep={}, now=lambda: datetime.now(UTC), sleep=lambda _: asyncio.sleep(0)
            ),
            breaker=breaker or Breaker(share=0, window=1, least=1),
            times=EventTimes(earliest=0, ahead=86_400_000),
        )

    def restarted(self, breaker: Breaker) -> World:
        """Return another worker's, with what this one has stored and knows."""
        world = World(breaker, self.store, self.schemas, self.rollups)
        world.dead_letters.sent = self.dead_letters.sent
        return world

    def settle(self, *batches: PartitionBatch) -> list[Fates]:
        """Settle all of them side by side."""
        return asyncio.run(self._settle(batches))

    async def _settle(self, batches: Sequence[PartitionBatch]) -> list[Fates]:
        return await asyncio.gather(*map(self.sink.settle, batches))


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


POISON = {
    Reason.TOMBSTONE: None,
    Reason.EMPTY: b"",
    Reason.BAD_MAGIC_BYTE: b"{}",
    Reason.TRUNCATED: b"\x00\x00",
    Reason.UNKNOWN_SCHEMA_ID: wire(an_event(), schema_id=77),
    Reason.UNDECODABLE: wire(an_event()) + b"x",
    Reason.TIMESTAMP_OUT_OF_RANGE: wire(an_event(event_timestamp=NOW * 10)),
}


def test_records_are_forgotten_once_they_have_their_fate() -> None:
    """Whoever counts what is held hears what is left: of an event something, of a dead letter nothing."""
    left: list[int] = []
    large = a_record(an_event(event_type="x" * 1_000), offset=2, key=b"x" * 100_000)
    batches = [a_batch(a_record(offset=0)), a_batch(FakeRecord(value=b"", offset=1)), a_batch(large)]
    for batch in batches:
        batch.on_forgotten = left.append

    World().settle(*batches)

    assert not any(batch.records for batch in batches)
    assert left[1] == 0 < left[0] < 1_000 < left[2] < 2_000


def test_good_records_are_stored() -> None:
    """V1 and V2, each labelled with its version."""
    world = World()

    fates = world.settle(a_batch(a_record(offset=0), a_record(an_event(browser="edge"), offset=1)))

    assert [Fates(stored=2)] == fates
    assert ["v1", "v2"] == [document["schema_version"] for document in world.store.documents.values()]


def test_a_record_that_comes_again_is_stored_once() -> None:
    """And counted as already stored."""
    world = World()

    fates = world.settle(a_batch(a_record(offset=0))) + world.settle(
        a_batch(a_record(offset=0), a_record(offset=1), assignment=1)
    )

    assert [Fates(stored=1), Fates(stored=1, duplicates=1)] == fates


def test_observer_hears_of_what_is_new_and_of_every_slice() -> None:
    """Duplicates are not new, and an insert that fails takes its time too."""
    world = World()
    v2 = an_event(browser=None)
    new = a_record(v2, offset=1)
    out_of_order = a_record(v2, offset=3, headers=replayed_from(offset=7))

    world.settle(a_batch(a_record(offset=0)))
    world.store.away_for = 1
    world.settle(a_batch(a_record(offset=0), new, FakeRecord(value=None, offset=2), out_of_order, assignment=1))

    assert [(0, "v1"), (1, "v2"), (3, "v2")] == world.observer.new
    assert [(1, []), (4, ["tombstone"])] == world.observer.batches
    assert [1, 1, 1] == world.observer.inserts


@pytest.mark.parametrize(("reason", "value"), POISON.items(), ids=map(str, POISON))
def test_poison_becomes_a_dead_letter_and_harms_nobody(reason: Reason, value: bytes | None) -> None:
    """Its neighbours are stored, and it keeps its reason and record."""
    world = World()
    poison = FakeRecord(value=value, offset=1)

    fates = world.settle(a_batch(a_record(offset=0), poison, a_record(offset=2)))

    assert [Fates(stored=2, dead_lettered=1)] == fates
    assert [(reason, poison)] == [(letter.reason, letter.record) for letter in world.dead_letters.sent]
    assert {reason.value: 1} == world.store.dead_letters


def test_a_fault_of_ours_that_a_record_brings_out_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The partition goes on; the log tells which record, and nothing of what it says."""
    world = World()
    real = document.build

    def broken(event: Event, *, origin: Origin, **kwargs: Any) -> Document:
        if origin.offset == 1:
            raise ValueError(event["user_id"])
        return real(event, origin=origin, **kwargs)

    monkeypatch.setattr(document, "build", broken)
    user = "alice@example.org"

    # With a header it goes the generic path.
    records = [a_record(an_event(user_id=user), offset=offset, headers=(("trace", b"7"),)) for offset in range(3)]
    fates = world.settle(a_batch(*records))

    assert [Fates(stored=2, dead_lettered=1)] == fates
    assert [(Reason.UNDECODABLE, f"ValueError: {user}")] == [(x.reason, x.error) for x in world.dead_letters.sent]
    assert "partition 0, offset 1 " in caplog.text
    assert "ValueError" in caplog.text
    assert user not in caplog.text


def test_a_document_that_the_store_refuses_is_a_dead_letter() -> None:
    """One refusal condemns nobody else."""
    world = World()
    world.store.insert = refuse_second  # type: ignore[method-assign]
    world.sink._insert_batcher._write = refuse_second

    fates = world.settle(a_batch(*(a_record(offset=offset) for offset in range(3))))

    assert [Fates(stored=2, dead_lettered=1)] == fates
    assert [(Reason.REFUSED_BY_STORE, 1, "too odd")] == [
        (x.reason, x.record.offset, x.error) for x in world.dead_letters.sent
    ]


async def refuse_second(documents: Sequence[Document]) -> Outcome:
    """Refuse whatever has offset 1."""
    return Outcome(refused={i: "too odd" for i, d in enumerate(documents) if d["kafka"]["offset"] == 1})


def test_dead_letters_come_in_the_order_of_the_partition() -> None:
    """Found when decoding or when inserting."""
    world = World()
    world.sink._insert_batcher._write = refuse_second

    world.settle(a_batch(FakeRecord(value=b"", offset=0), a_record(offset=1), FakeRecord(value=b"", offset=2)))

    assert [0, 1, 2] == [letter.record.offset for letter in world.dead_letters.sent]


def test_a_batch_has_dead_letters_of_every_origin_once() -> None:
    """Not decodable, refused in order, and refused out of order."""
    world = World()
    world.sink._insert_batcher._write = refuse_second
    headers = replayed_from(offset=1)

    async def refuse_all(documents: Sequence[Document]) -> Outcome:
        return Outcome(refused=dict.fromkeys(range(len(documents)), "too odd"))

    world.sink._ports.out_of_order.insert = refuse_all
    records = [
        a_record(offset=0),
        a_record(offset=1),
        FakeRecord(value=b"", offset=2),
        a_record(offset=3, headers=headers),
    ]

    fates = world.settle(a_batch(*records))

    assert [Fates(stored=1, dead_lettered=3)] == fates
    assert [(1, "refused-by-store"), (2, "empty"), (3, "refused-by-store")] == [
        (letter.record.offset, letter.reason) for letter in world.dead_letters.sent
    ]


def test_an_outage_of_the_store_is_waited_out() -> None:
    """Nothing is dead-lettered, nothing is lost."""
    world = World()
    world.store.is_away = True

    async def scenario() -> Fates:
        settling = asyncio.create_task(world.sink.settle(a_batch(a_record())))
        await settled()
        assert not settling.done()
        world.store.is_away = False
        return await settling

    assert Fates(stored=1) == asyncio.run(scenario())


def test_what_has_waited_in_small_slices_is_stored_in_few_inserts() -> None:
    """After an outage there are thousands of them."""
    world = World()
    world.store.is_away = True
    calls = list[int]()
    insert = world.store.insert

    async def counting(documents: Sequence[Document]) -> Outcome:
        outcome = await insert(documents)
        calls.append(len(documents))
        return outcome

    world.store.insert = counting  # type: ignore[method-assign]

    async def scenario() -> None:
        settling = [asyncio.create_task(world.sink.settle(a_batch(a_record(offset=offset)))) for offset in range(500)]
        await settled()
        world.store.is_away = False
        await asyncio.gather(*settling)

    asyncio.run(scenario())

    assert 500 == sum(calls)
    assert len(calls) < 20


def test_poison_alone_does_not_end_an_outage() -> None:
    """Nothing was asked of the store, so it is away for whoever looks."""
    world = World()

    async def scenario() -> None:
        await world.sink.settle(a_batch(a_record()))
        world.store.is_away = True
        good = asyncio.create_task(world.sink.settle(a_batch(a_record(offset=1))))
        await settled()
        bad = asyncio.create_task(world.sink.settle(a_batch(FakeRecord(value=b"", offset=2))))
        await settled()
        assert world.store_outages.count == 1
        world.store.is_away = False
        await asyncio.gather(good, bad)

    asyncio.run(scenario())


def test_an_outage_of_the_dead_letter_topic_holds_back_its_partition_only() -> None:
    """Good records of other partitions go on; the batch with the poison is not settled."""
    world = World()
    world.dead_letters.is_away = True

    async def scenario() -> Fates:
        stuck = asyncio.create_task(world.sink.settle(a_batch(FakeRecord(value=b"", partition=0))))
        await world.sink.settle(a_batch(a_record(partition=1)))
        assert not stuck.done()
        world.dead_letters.is_away = False
        return await stuck

    assert Fates(dead_lettered=1) == asyncio.run(scenario())


def test_dead_letters_of_later_slices_wait_for_those_of_earlier_ones() -> None:
    """Also past a batch between them that has none: their count is kept by the last offset."""

    class OneIsSlow(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            if letters[0].record.offset == 0:
                await settled()
            await super().send(letters)

    world = World(dead_letters=OneIsSlow())
    bad, good, worse = FakeRecord(value=b"", offset=0), a_record(offset=1), FakeRecord(value=b"", offset=2)

    world.settle(a_batch(bad), a_batch(good), a_batch(worse))

    assert [0, 2] == [letter.record.offset for letter in world.dead_letters.sent]
    assert {"empty": 2} == world.store.dead_letters


def test_a_dead_letter_that_fits_nowhere_is_raised() -> None:
    """The worker stops; nothing of the batch may be acked."""

    class TooSmall(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            raise DeadLetterTopicTooSmall("raise its limit")

    with pytest.raises(DeadLetterTopicTooSmall):
        World(dead_letters=TooSmall()).settle(a_batch(FakeRecord(value=b"")))


def test_after_a_failure_later_dead_letters_of_the_partition_wait() -> None:
    """Counted first, they would keep the earlier one from ever being counted."""

    class FirstFails(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            if letters[0].record.offset == 0:
                raise DeadLetterTopicTooSmall("raise its limit")
            await super().send(letters)

    world = World(dead_letters=FirstFails())

    async def scenario() -> None:
        first = asyncio.create_task(world.sink.settle(a_batch(FakeRecord(value=b"", offset=0))))
        second = asyncio.create_task(world.sink.settle(a_batch(FakeRecord(value=b"", offset=1))))
        await settled()
        assert isinstance(first.exception(), DeadLetterTopicTooSmall)
        assert isinstance(second.exception(), AssignmentLost)

    asyncio.run(scenario())

    assert [] == world.dead_letters.sent
    assert {} == world.store.dead_letters


def a_breaker() -> Breaker:
    """Return one that breaks at half of the last 1,000, which does not wait."""
    return Breaker(share=0.5, window=1_000, least=100, sleep=lambda _: asyncio.sleep(0))


def unreadable(count: int, *, partition: int = 0, start: int = 0) -> list[FakeRecord]:
    """Return records of V2, which a world without it cannot read."""
    value = wire(an_event(browser="edge"))
    return [FakeRecord(value=value, partition=partition, offset=start + index) for index in range(count)]


def test_a_flood_of_poison_stops_before_it_is_buried_and_goes_on_when_it_is_mended() -> None:
    """Each start breaks again, buries and counts nothing; with its schema, all is stored and counted once."""
    world = World(a_breaker())
    del world.schemas.known[2]
    batch = a_batch(*(a_record(offset=offset) for offset in range(50)), *unreadable(300, start=50))

    for start in range(3):
        world = world.restarted(a_breaker())
        with pytest.raises(PoisonFlood, match=r"50 of the last 100 records.*\n.*50 unknown-schema-id"):
            world.settle(batch, a_batch(a_record(offset=350)))
        assert (Fates(), [], {}) == (world.sink.fates, world.dead_letters.sent, world.store.dead_letters), start
    world.schemas.known[2] = V2
    world = world.restarted(a_breaker())
    fates = world.settle(batch, a_batch(a_record(offset=350)))

    assert 351 == sum(fates, Fates()).records == len(world.store.documents)
    assert {351} == counts_at_every_level(world)
    assert [] == world.dead_letters.sent


def test_a_flood_stops_the_slices_of_all_partitions() -> None:
    """Those that are under way too: not one dead letter is sent, and good batches go on."""
    world = World(a_breaker())
    batches = [a_batch(*(FakeRecord(value=b"", partition=p, offset=o) for o in range(60))) for p in range(4)]

    async def scenario() -> list[Any]:
        settling = map(world.sink.settle, [*batches, a_batch(a_record(partition=4))])
        return await asyncio.gather(*settling, return_exceptions=True)

    *floods, good = asyncio.run(scenario())

    assert [PoisonFlood] * 4 == [*map(type, floods)]
    assert Fates(stored=1) == good
    assert [] == world.dead_letters.sent


def test_a_flood_in_small_slices_of_one_partition_stops_with_the_first() -> None:
    """The others wait for their turn: they are looked at all the same."""
    world = World(a_breaker())
    batches = [a_batch(*(FakeRecord(value=b"", offset=30 * n + o) for o in range(30))) for n in range(4)]

    with pytest.raises(PoisonFlood, match=r"120 of the last 120 records.*\n.*120 empty\n.*offset 29"):
        world.settle(*batches)
    assert [] == world.dead_letters.sent


def test_replayed_dead_letters_that_fail_again_are_no_flood() -> None:
    """However many come together: else a replay before its time would stop every worker."""
    world = World(a_breaker())
    first = [a_letter(Reason.EMPTY, value=b"", offset=offset) for offset in range(200)]
    batch = a_batch(*(each.record._replace(offset=300 + n, headers=replayed(each)) for n, each in enumerate(first)))

    assert [Fates(dead_lettered=200)] == world.settle(batch)
    assert {2} == {letter.origin.failures + 1 for letter in world.dead_letters.sent}


def test_small_slices_of_poison_among_good_ones_do_not_stop() -> None:
    """However bad the first one is."""
    world = World(a_breaker())
    bad = a_batch(*(FakeRecord(value=b"", offset=offset) for offset in range(30)))

    fates = world.settle(bad, a_batch(*(a_record(offset=30 + offset) for offset in range(90))))

    assert [Fates(dead_lettered=30), Fates(stored=90)] == fates


def test_what_the_store_refuses_counts_as_bad() -> None:
    """It would flood the dead-letter topic as well."""
    world = World(a_breaker())

    async def refuse_all(documents: Sequence[Document]) -> Outcome:
        return Outcome(refused=dict.fromkeys(range(len(documents)), "too odd"))

    world.sink._insert_batcher._write = refuse_all

    with pytest.raises(PoisonFlood, match="100 refused-by-store"):
        world.settle(a_batch(*(a_record(offset=offset) for offset in range(100))))
    assert [] == world.dead_letters.sent


def test_duplicates_count_as_good() -> None:
    """They had their fate: a hundred of them leave room for ninety-nine bad ones."""
    world = World(a_breaker())
    good = [a_record(offset=offset) for offset in range(100)]
    world.settle(a_batch(*good))
    world = world.restarted(a_breaker())

    fates = world.settle(a_batch(*good, *(FakeRecord(value=b"", offset=100 + index) for index in range(99))))

    assert [Fates(duplicates=100, dead_lettered=99)] == fates


def test_a_slice_whose_fates_do_not_add_up_is_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lost one: nothing of it may be acked."""
    world = World()

    monkeypatch.setattr(world.sink, "_note", lambda *_: Fates())

    with pytest.raises(AssertionError, match="1 records met 0 fates"):
        world.settle(a_batch(a_record()))
    assert Fates() == world.sink.fates


def test_fates_add_up_over_all_slices() -> None:
    """The sum is what the metrics tell."""
    world = World()

    world.settle(a_batch(a_record(offset=0), FakeRecord(value=b"", offset=1)), a_batch(a_record(partition=1)))

    assert Fates(stored=2, dead_lettered=1) == world.sink.fates


def counts_at_every_level(world: World) -> set[int]:
    """Return the numbers of events that the levels hold: one number if they agree."""
    return {world.rollups.total(level.name) for level in LEVELS}


def test_stored_events_are_counted_once_however_often_they_come() -> None:
    """Before the ack, at every level, in the order of the partition; another life of the topic counts apart."""
    world = World()

    world.settle(*[a_batch(a_record(offset=offset)) for offset in range(3)])
    world.settle(a_batch(*[a_record(offset=offset) for offset in range(5)], assignment=1))
    world.settle(a_batch(a_record(offset=0), topic_id="B" * 22, assignment=2))

    assert {6} == counts_at_every_level(world)
    assert len(world.store.documents) == 6


def test_events_whose_records_are_gone_are_counted_with_what_comes_behind_them() -> None:
    """A worker stored them and ended before it counted them; then Kafka deleted their records."""
    world = World()
    world.settle(a_batch(a_record(offset=0)))
    before = World(store=world.store)
    before.settle(a_batch(a_record(offset=1), a_record(offset=2), a_record(offset=4)))
    restarted = World(store=world.store, rollups=world.rollups)

    fates = restarted.settle(a_batch(a_record(offset=3), a_record(offset=6), assignment=1, begin=1))
    restarted.settle(a_batch(a_record(offset=8), assignment=2, begin=7))

    assert [Fates(stored=2)] == fates
    assert {7} == counts_at_every_level(world)


def test_what_was_counted_before_is_not_counted_with_what_comes_behind_it() -> None:
    """Nor what was counted apart; and without its topic's UUID the `_id` of a record that is gone is not known."""
    world = World()
    world.settle(a_batch(a_record(offset=0), a_record(offset=1)))
    world.store.documents[f"{TOPIC_ID}-0-3"] = {"kafka": {"apart": True, "offset": 3}}
    restarted = World(store=world.store, rollups=world.rollups)

    restarted.settle(a_batch(a_record(offset=5), assignment=1, begin=0))
    restarted.settle(a_batch(a_record(offset=9), assignment=2, begin=6, topic_id=None))

    assert {4} == counts_at_every_level(world)


def test_an_event_that_was_a_dead_letter_first_is_counted_when_it_comes_again() -> None:
    """Its rollups hold later offsets already."""
    world = World()
    late = a_record(an_event(browser="edge"), offset=1)
    del world.schemas.known[2]
    world.settle(a_batch(a_record(offset=0), late, a_record(offset=2)))
    world.schemas.known[2] = V2

    for assignment in (1, 2):
        world.settle(a_batch(a_record(offset=0), late, a_record(offset=2), assignment=assignment))

    assert len(world.store.documents) == 3
    assert {3} == counts_at_every_level(world)


def test_what_an_assignment_that_is_over_has_entered_does_not_pass_by_what_comes_again() -> None:
    """Its write waits for MongoDB, which can be read, while the next assignment asks how far the rollups are."""
    world = World()
    late = a_record(an_event(browser="edge"), offset=1)
    world.rollups.is_read_only = True
    del world.schemas.known[2]

    async def scenario() -> None:
        over = asyncio.create_task(world.sink.settle(a_batch(a_record(offset=0), late, a_record(offset=2))))
        await settled()
        assert world.store_outages.retries, "nothing was entered"
        over.cancel()
        world.schemas.known[2] = V2
        again = asyncio.create_task(world.sink.settle(a_batch(a_record(offset=0), late, assignment=1)))
        await settled()
        world.rollups.is_read_only = False
        await again
        await world.sink.settle(a_batch(a_record(offset=2), assignment=1))

    asyncio.run(scenario())

    assert len(world.store.documents) == 3
    assert {3} == counts_at_every_level(world)


def test_a_dead_letter_that_is_replayed_twice_is_stored_and_counted_once() -> None:
    """At its first place, which lies before what was counted."""
    world = World()
    headers = replayed_from(offset=1)
    world.settle(a_batch(a_record(offset=0), FakeRecord(value=b"", offset=1), a_record(offset=2)))

    first = world.settle(a_batch(a_record(offset=3, headers=headers), assignment=1))
    again = world.settle(
        a_batch(a_record(offset=3, headers=headers), a_record(offset=4, headers=headers), assignment=2)
    )

    assert [[Fates(stored=1)], [Fates(duplicates=2)]] == [first, again]
    assert {3} == counts_at_every_level(world)


def test_once_a_slice_is_given_up_no_later_one_of_its_assignment_is_counted() -> None:
    """Or the given-up one would lie before the offset that the rollups hold when it comes again."""
    world = World()
    world.store.is_away = True

    async def scenario() -> None:
        first = asyncio.create_task(world.sink.settle(a_batch(a_record(offset=0))))
        second = asyncio.create_task(world.sink.settle(a_batch(a_record(offset=1))))
        await settled()
        first.cancel()
        world.store.is_away = False
        await settled()
        assert first.cancelled()
        assert isinstance(second.exception(), AssignmentLost)
        with pytest.raises(AssignmentLost):
            await world.sink.settle(a_batch(a_record(offset=2)))
        await world.sink.settle(a_batch(*[a_record(offset=offset) for offset in range(3)], assignment=1))

    asyncio.run(scenario())

    assert {3} == counts_at_every_level(world)


def replayed_from(*, offset: int) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a dead letter that is replayed."""
    values = {"topic": "user_events", "partition": "0", "offset": str(offset), "timestamp": str(NOW)}
    values |= {"incarnation": TOPIC_ID, "attempt": "1"}
    return tuple((f"streamapp.{name}", value.encode()) for name, value in values.items())
