"""Every record has one fate."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.decode import document, wire_format
from streamapp.decode.document import Document, EventTimes
from streamapp.decode.kernel import KERNEL
from streamapp.decode.writer_schema import in_shape_of, writer_schema
from streamapp.errors import AssignmentLost, DeadLetterRefused, PoisonFlood
from streamapp.model.event import Event, schema
from streamapp.model.record import DeadLetter, Origin, PartitionBatch, Reason
from streamapp.retry import OutageRetrier, RetryPolicy
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.recount import Recount, difference
from streamapp.rollups.rollup import Rollup
from streamapp.rollups.writer import RollupWriter
from streamapp.sink.circuit_breaker import CircuitBreaker
from streamapp.sink.ports import Fates, Outcome, SinkOutages, SinkPorts
from streamapp.sink.settle import Sink
from tests.support import factories, shapes
from tests.support.columns import columns_of
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


@pytest.fixture(autouse=True, params=["objects", "columns"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of a batch as aiokafka reads them, and as the kernel finds them."""
    if request.param == "columns":
        monkeypatch.setattr(factories, "in_form", columns_of)


class Environment:
    """A sink with fakes; retries do not wait."""

    def __init__(
        self,
        breaker: CircuitBreaker | None = None,
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
            now=lambda: datetime.fromtimestamp(NOW / 1000, UTC),
            stopwatch=itertools.count().__next__,
        )
        self.sink = Sink(
            ports,
            outages=SinkOutages(store=outages, dead_letters=OutageRetrier("the dead-letter topic", policy=quick)),
            rollup_writer=RollupWriter(
                self.rollups, outages=outages, keep={}, now=lambda: datetime.now(UTC), sleep=lambda _: asyncio.sleep(0)
            ),
            breaker=breaker or CircuitBreaker(failure_ratio=0, window=1, min_records=1),
            times=EventTimes(earliest=0, ahead=86_400_000),
            kernel=KERNEL,
        )

    def restarted(self, breaker: CircuitBreaker) -> Environment:
        """Return the environment of the next worker, with the same stores and schemas."""
        env = Environment(breaker, self.store, self.schemas, self.rollups)
        env.dead_letters.sent = self.dead_letters.sent
        return env

    def settle(self, *batches: PartitionBatch) -> list[Fates]:
        """Settle all batches concurrently."""
        return asyncio.run(self._settle(batches))

    async def _settle(self, batches: Sequence[PartitionBatch]) -> list[Fates]:
        return await asyncio.gather(*map(self.sink.settle, batches))


async def settled() -> None:
    """Let all tasks run until they wait."""
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


def test_records_are_released_once_they_have_their_fate() -> None:
    """`on_release` gets the bytes that remain in memory: some of an event, none of a dead letter."""
    left: list[int] = []
    large = a_record(an_event(event_type="x" * 1_000), offset=2, key=b"x" * 100_000)
    batches = [a_batch(a_record(offset=0)), a_batch(FakeRecord(value=b"", offset=1)), a_batch(large)]
    for batch in batches:
        batch.on_release = left.append

    Environment().settle(*batches)

    assert not any(batch.records for batch in batches)
    assert left[1] == 0 < left[0] < 1_000
    assert 2_000 < left[2] < 5_000


def test_good_records_are_stored() -> None:
    """V1 and V2, each with its schema version."""
    env = Environment()

    fates = env.settle(a_batch(a_record(offset=0), a_record(an_event(browser="edge"), offset=1)))

    assert [Fates(stored=2)] == fates
    assert ["v1", "v2"] == [document["schema_version"] for document in env.store.documents.values()]


def test_a_redelivered_record_is_stored_once() -> None:
    """The second time it is a duplicate."""
    env = Environment()

    fates = env.settle(a_batch(a_record(offset=0))) + env.settle(
        a_batch(a_record(offset=0), a_record(offset=1), assignment=1)
    )

    assert [Fates(stored=1), Fates(stored=1, duplicates=1)] == fates


def test_the_observer_gets_every_insert_every_new_event_and_every_batch() -> None:
    """A duplicate is not new; a failed insert counts as an insert."""
    env = Environment()
    v2 = an_event(browser=None)
    new = a_record(v2, offset=1)
    out_of_order = a_record(v2, offset=3, headers=replayed_from(offset=7))

    env.settle(a_batch(a_record(offset=0)))
    env.store.failing_inserts = 1
    env.settle(a_batch(a_record(offset=0), new, FakeRecord(value=None, offset=2), out_of_order, assignment=1))

    assert [(0, "v1"), (1, "v2"), (3, "v2")] == env.observer.new
    assert [(1, []), (4, ["tombstone"])] == env.observer.batches
    assert [1, 1, 1] == env.observer.inserts


@pytest.mark.parametrize(("reason", "value"), POISON.items(), ids=map(str, POISON))
def test_a_poison_record_becomes_a_dead_letter_and_the_others_are_stored(reason: Reason, value: bytes | None) -> None:
    """With its reason and its record."""
    env = Environment()
    poison = FakeRecord(value=value, offset=1)

    fates = env.settle(a_batch(a_record(offset=0), poison, a_record(offset=2)))

    assert [Fates(stored=2, dead_lettered=1)] == fates
    assert [(reason, poison)] == [(letter.reason, letter.record) for letter in env.dead_letters.sent]
    assert {reason.value: 1} == env.store.dead_letters


def test_an_unexpected_error_while_decoding_makes_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The partition goes on; the log names the record and holds no value of it."""
    env = Environment()
    real = document.build

    def broken(event: Event, *, origin: Origin, **kwargs: Any) -> Document:
        if origin.offset == 1:
            raise ValueError(event["user_id"])
        return real(event, origin=origin, **kwargs)

    monkeypatch.setattr(document, "build", broken)
    user = "alice@example.org"

    # Records with headers of this prefix take the generic path.
    headers = (("streamapp.note", b"7"),)
    records = [a_record(an_event(user_id=user), offset=offset, headers=headers) for offset in range(3)]
    fates = env.settle(a_batch(*records))

    assert [Fates(stored=2, dead_lettered=1)] == fates
    assert [(Reason.UNDECODABLE, f"ValueError: {user}")] == [(x.reason, x.error) for x in env.dead_letters.sent]
    assert "unexpected error while decoding user_events, partition 0, offset 1: ValueError" in caplog.text
    assert user not in caplog.text


def test_a_document_that_the_store_refuses_becomes_a_dead_letter() -> None:
    """The other documents are stored."""
    env = Environment()
    env.sink._insert_batcher._write = refuse_second

    fates = env.settle(a_batch(*(a_record(offset=offset) for offset in range(3))))

    assert [Fates(stored=2, dead_lettered=1)] == fates
    assert [(Reason.REFUSED_BY_STORE, 1, "too odd")] == [
        (x.reason, x.record.offset, x.error) for x in env.dead_letters.sent
    ]


async def refuse_second(documents: Sequence[Document]) -> Outcome:
    """Refuse the document with offset 1."""
    return Outcome(refused={i: "too odd" for i, d in enumerate(documents) if d["kafka"]["offset"] == 1})


ITEMS = {"type": "array", "items": {"type": "record", "name": "Item", "fields": [{"name": "a", "type": "boolean"}]}}
EXPANDING = {**schema(1), "fields": [*schema(1)["fields"], {"name": "items", "type": ITEMS}]}


def test_a_batch_that_expands_is_settled_in_parts() -> None:
    """Each record has its fate and its count, whatever part it is in."""
    env = Environment()
    env.schemas.known[3] = writer_schema(EXPANDING, schema_id=3, version="v3")
    large = wire(an_event(items=[{"a": True}] * 25_000), EXPANDING, 3)
    replay = FakeRecord(value=large, offset=3, headers=replayed_from(offset=0))
    records = [FakeRecord(value=large, offset=1), FakeRecord(value=large + b"x", offset=2), replay, a_record(offset=4)]
    env.settle(a_batch(FakeRecord(value=b"", offset=0)))

    assert [Fates(stored=3, dead_lettered=1)] == env.settle(a_batch(*records))

    assert [0, 2] == [letter.record.offset for letter in env.dead_letters.sent]
    assert [f"{TOPIC_ID}-0-{offset}" for offset in (1, 4, 0)] == [*env.store.documents]
    assert {3} == counts_at_every_level(env)


def test_other_tasks_run_between_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if no part has an event to insert: the group would lose a worker that does not answer."""
    env = Environment()
    env.schemas.known[3] = writer_schema(EXPANDING, schema_id=3, version="v3")
    value = wire(an_event(items=[{"a": True}] * 25_000), EXPANDING, 3) + b"x"
    turns, turn_of_record, decode = list[None](), list[int](), wire_format.build
    monkeypatch.setattr(wire_format, "build", lambda *args: (turn_of_record.append(len(turns)), decode(*args))[1])

    async def scenario() -> None:
        task = asyncio.create_task(env.sink.settle(a_batch(*(FakeRecord(value=value, offset=n) for n in range(3)))))
        while not task.done():
            turns.append(None)
            await asyncio.sleep(0)
        await task

    asyncio.run(scenario())

    assert 3 == len({*turn_of_record})


def test_dead_letters_are_sent_in_offset_order() -> None:
    """Whether decoding or the insert failed."""
    env = Environment()
    env.sink._insert_batcher._write = refuse_second

    env.settle(a_batch(FakeRecord(value=b"", offset=0), a_record(offset=1), FakeRecord(value=b"", offset=2)))

    assert [0, 1, 2] == [letter.record.offset for letter in env.dead_letters.sent]


def test_a_batch_has_dead_letters_of_every_origin_once() -> None:
    """Not decodable, refused in order, and refused out of order."""
    env = Environment()
    env.sink._insert_batcher._write = refuse_second
    headers = replayed_from(offset=1)

    async def refuse_all(documents: Sequence[Document]) -> Outcome:
        return Outcome(refused=dict.fromkeys(range(len(documents)), "too odd"))

    env.sink._ports.out_of_order.insert = refuse_all
    records = [
        a_record(offset=0),
        a_record(offset=1),
        FakeRecord(value=b"", offset=2),
        a_record(offset=3, headers=headers),
    ]

    fates = env.settle(a_batch(*records))

    assert [Fates(stored=1, dead_lettered=3)] == fates
    assert [(1, "refused-by-store"), (2, "empty"), (3, "refused-by-store")] == [
        (letter.record.offset, letter.reason) for letter in env.dead_letters.sent
    ]


def test_the_sink_waits_through_an_outage_of_the_store() -> None:
    """No record is dead-lettered or lost."""
    env = Environment()
    env.store.is_unreachable = True

    async def scenario() -> Fates:
        settling = asyncio.create_task(env.sink.settle(a_batch(a_record())))
        await settled()
        assert not settling.done()
        env.store.is_unreachable = False
        return await settling

    assert Fates(stored=1) == asyncio.run(scenario())


def test_small_batches_that_waited_are_stored_in_few_inserts() -> None:
    """After an outage there are thousands of them."""
    env = Environment()
    env.store.is_unreachable = True
    calls = list[int]()
    insert = env.store.insert

    async def counting(documents: Sequence[Document]) -> Outcome:
        outcome = await insert(documents)
        calls.append(len(documents))
        return outcome

    env.store.insert = counting  # type: ignore[method-assign]

    async def scenario() -> None:
        settling = [asyncio.create_task(env.sink.settle(a_batch(a_record(offset=offset)))) for offset in range(500)]
        await settled()
        env.store.is_unreachable = False
        await asyncio.gather(*settling)

    asyncio.run(scenario())

    assert 500 == sum(calls)
    assert len(calls) < 20


def test_a_batch_without_events_does_not_end_an_outage() -> None:
    """It makes no call to the store before its dead letters are counted."""
    env = Environment()

    async def scenario() -> None:
        await env.sink.settle(a_batch(a_record()))
        env.store.is_unreachable = True
        good = asyncio.create_task(env.sink.settle(a_batch(a_record(offset=1))))
        await settled()
        bad = asyncio.create_task(env.sink.settle(a_batch(FakeRecord(value=b"", offset=2))))
        await settled()
        assert env.store_outages.count == 1
        env.store.is_unreachable = False
        await asyncio.gather(good, bad)

    asyncio.run(scenario())


def test_an_outage_of_the_dead_letter_topic_delays_only_the_partition() -> None:
    """Batches of other partitions are settled; the batch with the dead letter is not."""
    env = Environment()
    env.dead_letters.is_unreachable = True

    async def scenario() -> Fates:
        stuck = asyncio.create_task(env.sink.settle(a_batch(FakeRecord(value=b"", partition=0))))
        await env.sink.settle(a_batch(a_record(partition=1)))
        assert not stuck.done()
        env.dead_letters.is_unreachable = False
        return await stuck

    assert Fates(dead_lettered=1) == asyncio.run(scenario())


def test_dead_letters_of_a_later_batch_wait_for_those_of_an_earlier_one() -> None:
    """Also with a batch without dead letters between them: their count depends on the last offset."""

    class FirstIsSlow(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            if letters[0].record.offset == 0:
                await settled()
            await super().send(letters)

    env = Environment(dead_letters=FirstIsSlow())
    bad, good, worse = FakeRecord(value=b"", offset=0), a_record(offset=1), FakeRecord(value=b"", offset=2)

    env.settle(a_batch(bad), a_batch(good), a_batch(worse))

    assert [0, 2] == [letter.record.offset for letter in env.dead_letters.sent]
    assert {"empty": 2} == env.store.dead_letters


def test_a_dead_letter_that_is_too_large_for_its_topic_raises() -> None:
    """The worker stops; nothing of the batch may be acked."""

    class TooSmall(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            raise DeadLetterRefused("raise its limit")

    with pytest.raises(DeadLetterRefused):
        Environment(dead_letters=TooSmall()).settle(a_batch(FakeRecord(value=b"")))


def test_after_a_failed_batch_no_later_dead_letter_of_the_partition_is_sent() -> None:
    """Once a later one is counted, an earlier one is never counted."""

    class FirstFails(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            if letters[0].record.offset == 0:
                raise DeadLetterRefused("raise its limit")
            await super().send(letters)

    env = Environment(dead_letters=FirstFails())

    async def scenario() -> None:
        first = asyncio.create_task(env.sink.settle(a_batch(FakeRecord(value=b"", offset=0))))
        second = asyncio.create_task(env.sink.settle(a_batch(FakeRecord(value=b"", offset=1))))
        await settled()
        assert isinstance(first.exception(), DeadLetterRefused)
        assert isinstance(second.exception(), AssignmentLost)

    asyncio.run(scenario())

    assert [] == env.dead_letters.sent
    assert {} == env.store.dead_letters


def a_breaker() -> CircuitBreaker:
    """Return one that opens when half of the last 1,000 records failed, and does not wait."""
    return CircuitBreaker(failure_ratio=0.5, window=1_000, min_records=100, sleep=lambda _: asyncio.sleep(0))


def unreadable(count: int, *, partition: int = 0, start: int = 0) -> list[FakeRecord]:
    """Return records of V2, which cannot be decoded without its schema."""
    value = wire(an_event(browser="edge"))
    return [FakeRecord(value=value, partition=partition, offset=start + index) for index in range(count)]


def test_a_flood_of_poison_records_stops_every_start_until_its_cause_is_removed() -> None:
    """No start sends or counts a dead letter; once the schema is known, all events are stored and counted once."""
    env = Environment(a_breaker())
    del env.schemas.known[2]
    batch = a_batch(*(a_record(offset=offset) for offset in range(50)), *unreadable(300, start=50))

    for start in range(3):
        env = env.restarted(a_breaker())
        with pytest.raises(PoisonFlood, match=r"50 of the last 100 records.*\n.*50 unknown-schema-id"):
            env.settle(batch, a_batch(a_record(offset=350)))
        assert (Fates(), [], {}) == (env.sink.fates, env.dead_letters.sent, env.store.dead_letters), start
    env.schemas.known[2] = V2
    env = env.restarted(a_breaker())
    fates = env.settle(batch, a_batch(a_record(offset=350)))

    assert 351 == sum(fates, Fates()).records == len(env.store.documents)
    assert {351} == counts_at_every_level(env)
    assert [] == env.dead_letters.sent


def test_a_flood_stops_batches_of_all_partitions() -> None:
    """No dead letter is sent, and batches without dead letters are settled."""
    env = Environment(a_breaker())
    batches = [a_batch(*(FakeRecord(value=b"", partition=p, offset=o) for o in range(60))) for p in range(4)]

    async def scenario() -> list[Any]:
        settling = map(env.sink.settle, [*batches, a_batch(a_record(partition=4))])
        return await asyncio.gather(*settling, return_exceptions=True)

    *floods, good = asyncio.run(scenario())

    assert [PoisonFlood] * 4 == [*map(type, floods)]
    assert Fates(stored=1) == good
    assert [] == env.dead_letters.sent


def test_a_flood_in_small_batches_of_one_partition_stops_at_the_first() -> None:
    """Batches that wait for their turn are announced."""
    env = Environment(a_breaker())
    batches = [a_batch(*(FakeRecord(value=b"", offset=30 * n + o) for o in range(30))) for n in range(4)]

    with pytest.raises(PoisonFlood, match=r"120 of the last 120 records.*\n.*120 empty\n.*offset 29"):
        env.settle(*batches)
    assert [] == env.dead_letters.sent


def test_replayed_dead_letters_that_fail_again_are_no_flood() -> None:
    """However many there are: else a replay that is too early would stop every worker."""
    env = Environment(a_breaker())
    first = [a_letter(Reason.EMPTY, value=b"", offset=offset) for offset in range(200)]
    batch = a_batch(*(each.record._replace(offset=300 + n, headers=replayed(each)) for n, each in enumerate(first)))

    assert [Fates(dead_lettered=200)] == env.settle(batch)
    assert {2} == {letter.origin.failures + 1 for letter in env.dead_letters.sent}


def test_a_record_without_a_timestamp_is_stored_and_counted() -> None:
    """Its Kafka timestamp is null; the worker's clock limits its event time."""
    env = Environment()
    late = a_record(an_event(event_timestamp=NOW * 2), offset=1, timestamp=-1)

    assert [Fates(stored=1, dead_lettered=1)] == env.settle(a_batch(a_record(offset=0, timestamp=-1), late))

    (stored,) = env.store.documents.values()
    assert stored["kafka"]["timestamp"] is None
    assert env.rollups.total("1m") == 1
    assert [Reason.TIMESTAMP_OUT_OF_RANGE] == [letter.reason for letter in env.dead_letters.sent]


def test_the_producers_clock_does_not_set_the_limit() -> None:
    """Microseconds as Kafka timestamp and event time, of the year 58,000, are out of range."""
    env = Environment()

    env.settle(a_batch(a_record(an_event(event_timestamp=NOW * 1000), timestamp=NOW * 1000)))

    assert [Reason.TIMESTAMP_OUT_OF_RANGE] == [letter.reason for letter in env.dead_letters.sent]
    assert not env.store.documents


def test_a_record_without_a_timestamp_that_is_delivered_again_is_the_same_event() -> None:
    """However much later: the time of receipt does not tell events apart."""
    env = Environment()

    fates = [env.settle(a_batch(a_record(timestamp=-1), assignment=number))[0] for number in (1, 2)]

    assert [Fates(stored=1), Fates(duplicates=1)] == fates
    assert not env.observer.reused_offsets


def claiming(offset: int, attempt: int = 1, **changes: Any) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers of a replayed dead letter with these coordinates."""
    letter = a_letter(offset=offset, **changes)
    return replayed(replace(letter, origin=letter.origin._replace(failures=attempt - 1)))


def test_an_event_with_forged_coordinates_does_not_take_the_place_of_another(caplog: pytest.LogCaptureFixture) -> None:
    """It is stored at its own offset, and the genuine events at theirs; the log says it once."""
    env = Environment()
    forged = [a_record(offset=n, headers=claiming(place)) for n, place in enumerate((3, 5, 4))]

    genuine = [a_record(offset=offset) for offset in range(3, 8)]
    assert [Fates(stored=3), Fates(stored=5)] == env.settle(a_batch(*forged), a_batch(*genuine))

    assert {f"{TOPIC_ID}-0-{offset}" for offset in range(8)} == env.store.documents.keys()
    assert 1 == sum("forged" in message for message in caplog.messages)


@pytest.mark.parametrize(
    "headers",
    [claiming(3, attempt=1), claiming(0, attempt=0), claiming(0, topic="others"), claiming(0, partition=1)],
    ids=["a later offset", "no attempt", "another topic", "another partition"],
)
def test_forged_poison_is_counted_at_its_own_offset(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    """Its headers hide neither itself nor the dead letters after it."""
    env = Environment()
    poison = [FakeRecord(value=b"", offset=2, headers=headers), FakeRecord(value=b"", offset=3)]

    env.settle(a_batch(*poison))

    assert {2: 0, 3: 0} == {letter.origin.offset: letter.origin.failures for letter in env.dead_letters.sent}
    assert {Reason.EMPTY: 2} == env.store.dead_letters


def test_a_dead_letter_of_a_deleted_topic_is_known_by_its_mark() -> None:
    """It keeps its `_id`; coordinates without a mark are not believed."""
    env = Environment()
    env.settle(a_batch(FakeRecord(value=b"", offset=7), topic_id="the deleted topic"))
    known, forged = (
        replayed(replace(each, origin=each.origin._replace(topic_id="the deleted topic")))
        for each in (a_letter(offset=7), a_letter(offset=8))
    )

    env.settle(a_batch(a_record(offset=0, headers=known), a_record(offset=1, headers=forged)))

    assert {"the deleted topic-0-7", f"{TOPIC_ID}-0-1"} == env.store.documents.keys()


def test_a_dead_letter_has_its_mark_before_anyone_can_replay_it() -> None:
    """Its worker can be killed as soon as it is sent; then its record becomes an event, and the replay the same one."""

    class Killed(FakeDeadLetters):
        async def send(self, letters: Sequence[DeadLetter]) -> None:
            await super().send(letters)
            raise DeadLetterRefused("as if the worker were killed")

    env = Environment(dead_letters=Killed())
    del env.schemas.known[2]
    unknown = FakeRecord(value=wire(an_event(browser="edge")), offset=7)
    with pytest.raises(DeadLetterRefused):
        env.settle(a_batch(unknown))
    env.schemas.known[2] = V2
    env = env.restarted(a_breaker())
    (letter,) = env.dead_letters.sent

    env.settle(a_batch(unknown))
    env.settle(a_batch(a_record(partition=1, headers=replayed(letter))))

    assert {f"{TOPIC_ID}-0-7"} == env.store.documents.keys()
    assert {1} == counts_at_every_level(env)


def test_small_batches_of_poison_records_among_good_ones_do_not_stop_the_worker() -> None:
    """Even if all records of the first batch fail."""
    env = Environment(a_breaker())
    bad = a_batch(*(FakeRecord(value=b"", offset=offset) for offset in range(30)))

    fates = env.settle(bad, a_batch(*(a_record(offset=30 + offset) for offset in range(90))))

    assert [Fates(dead_lettered=30), Fates(stored=90)] == fates


def test_refused_documents_count_as_failed_records() -> None:
    """They would flood the dead-letter topic too."""
    env = Environment(a_breaker())

    async def refuse_all(documents: Sequence[Document]) -> Outcome:
        return Outcome(refused=dict.fromkeys(range(len(documents)), "too odd"))

    env.sink._insert_batcher._write = refuse_all

    with pytest.raises(PoisonFlood, match="100 refused-by-store"):
        env.settle(a_batch(*(a_record(offset=offset) for offset in range(100))))
    assert [] == env.dead_letters.sent


def test_duplicates_count_as_good_records() -> None:
    """With a hundred of them, ninety-nine failed records do not open the circuit breaker."""
    env = Environment(a_breaker())
    good = [a_record(offset=offset) for offset in range(100)]
    env.settle(a_batch(*good))
    env = env.restarted(a_breaker())

    fates = env.settle(a_batch(*good, *(FakeRecord(value=b"", offset=100 + index) for index in range(99))))

    assert [Fates(duplicates=100, dead_lettered=99)] == fates


def test_a_batch_whose_fates_do_not_add_up_is_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it may be acked."""
    env = Environment()

    monkeypatch.setattr(env.sink, "_observe", lambda *_: Fates())

    with pytest.raises(AssertionError, match="1 records, but 0 fates"):
        env.settle(a_batch(a_record()))
    assert Fates() == env.sink.fates


def test_the_sink_sums_the_fates_of_all_batches() -> None:
    """For the metrics."""
    env = Environment()

    env.settle(a_batch(a_record(offset=0), FakeRecord(value=b"", offset=1)), a_batch(a_record(partition=1)))

    assert Fates(stored=2, dead_lettered=1) == env.sink.fates


def counts_at_every_level(env: Environment) -> set[int]:
    """Return the number of events at each level: one number if they agree."""
    return {env.rollups.total(level.name) for level in LEVELS}


def test_stored_events_are_counted_once_however_often_they_are_delivered() -> None:
    """At every level, before the batch is settled; a topic that was re-created has its own counts."""
    env = Environment()

    env.settle(*[a_batch(a_record(offset=offset)) for offset in range(3)])
    env.settle(a_batch(*[a_record(offset=offset) for offset in range(5)], assignment=1))
    env.settle(a_batch(a_record(offset=0), topic_id="B" * 22, assignment=2))

    assert {6} == counts_at_every_level(env)
    assert len(env.store.documents) == 6


def test_orphans_are_counted_with_the_events_that_follow_them() -> None:
    """A worker stored them and ended before it counted them; then Kafka deleted their records."""
    env = Environment()
    env.settle(a_batch(a_record(offset=0)))
    before = Environment(store=env.store)
    before.settle(a_batch(a_record(offset=1), a_record(offset=2), a_record(offset=4)))
    restarted = Environment(store=env.store, rollups=env.rollups)

    fates = restarted.settle(a_batch(a_record(offset=3), a_record(offset=6), assignment=1, begin=1))
    restarted.settle(a_batch(a_record(offset=8), assignment=2, begin=7))

    assert [Fates(stored=2)] == fates
    assert {7} == counts_at_every_level(env)


@pytest.mark.parametrize("user", [["a"], 7, None])
def test_an_orphan_whose_user_another_program_has_changed_is_counted_as_a_recount_counts_it(user: object) -> None:
    """By the text of the user."""
    env = Environment()
    env.settle(a_batch(a_record(offset=0)))
    ((id_, stored),) = env.store.documents.items()
    env.store.documents[id_] = {**stored, "user_id": user}
    restarted = Environment(store=env.store)

    restarted.settle(a_batch(a_record(offset=1), assignment=1, begin=0))

    recount = Recount([LEVELS[-1]])
    recount.add(env.store.documents.values(), {})
    ((rollup_id, found),) = restarted.rollups.documents["1d"].items()
    assert found["n"] == 2
    assert difference(Rollup(rollup_id, found), recount.rollups[LEVELS[-1]][rollup_id]) is None


def test_events_that_were_counted_are_no_orphans() -> None:
    """In order or out of order; without a topic id there are no orphans, since their `_id` is unknown."""
    env = Environment()
    env.settle(a_batch(a_record(offset=0), a_record(offset=1)))
    env.store.documents[f"{TOPIC_ID}-0-3"] = {"kafka": {"apart": True, "offset": 3}}
    restarted = Environment(store=env.store, rollups=env.rollups)

    restarted.settle(a_batch(a_record(offset=5), assignment=1, begin=0))
    restarted.settle(a_batch(a_record(offset=9), assignment=2, begin=6, topic_id=None))

    assert {4} == counts_at_every_level(env)


def test_an_event_whose_record_was_a_dead_letter_before_is_counted_when_it_is_redelivered() -> None:
    """Its rollups hold later offsets already."""
    env = Environment()
    late = a_record(an_event(browser="edge"), offset=1)
    del env.schemas.known[2]
    env.settle(a_batch(a_record(offset=0), late, a_record(offset=2)))
    env.schemas.known[2] = V2

    for assignment in (1, 2):
        env.settle(a_batch(a_record(offset=0), late, a_record(offset=2), assignment=assignment))

    assert len(env.store.documents) == 3
    assert {3} == counts_at_every_level(env)


def test_events_of_an_ended_assignment_are_not_counted_before_their_redelivery() -> None:
    """Their rollup write waits for MongoDB while the next assignment reads the high watermark."""
    env = Environment()
    late = a_record(an_event(browser="edge"), offset=1)
    env.rollups.is_read_only = True
    del env.schemas.known[2]

    async def scenario() -> None:
        ended = asyncio.create_task(env.sink.settle(a_batch(a_record(offset=0), late, a_record(offset=2))))
        await settled()
        assert env.store_outages.retries, "no rollup write failed"
        ended.cancel()
        env.schemas.known[2] = V2
        again = asyncio.create_task(env.sink.settle(a_batch(a_record(offset=0), late, assignment=1)))
        await settled()
        env.rollups.is_read_only = False
        await again
        await env.sink.settle(a_batch(a_record(offset=2), assignment=1))

    asyncio.run(scenario())

    assert len(env.store.documents) == 3
    assert {3} == counts_at_every_level(env)


def test_a_dead_letter_that_is_replayed_twice_is_stored_and_counted_once() -> None:
    """At its original offset, which is below the high watermark."""
    env = Environment()
    headers = replayed_from(offset=1)
    env.settle(a_batch(a_record(offset=0), FakeRecord(value=b"", offset=1), a_record(offset=2)))

    first = env.settle(a_batch(a_record(offset=3, headers=headers), assignment=1))
    again = env.settle(a_batch(a_record(offset=3, headers=headers), a_record(offset=4, headers=headers), assignment=2))

    assert [[Fates(stored=1)], [Fates(duplicates=2)]] == [first, again]
    assert {3} == counts_at_every_level(env)


def test_after_a_batch_is_given_up_no_later_batch_of_its_assignment_is_counted() -> None:
    """Else its events would be below the high watermark at their redelivery."""
    env = Environment()
    env.store.is_unreachable = True

    async def scenario() -> None:
        first = asyncio.create_task(env.sink.settle(a_batch(a_record(offset=0))))
        second = asyncio.create_task(env.sink.settle(a_batch(a_record(offset=1))))
        await settled()
        first.cancel()
        env.store.is_unreachable = False
        await settled()
        assert first.cancelled()
        assert isinstance(second.exception(), AssignmentLost)
        with pytest.raises(AssignmentLost):
            await env.sink.settle(a_batch(a_record(offset=2)))
        await env.sink.settle(a_batch(*[a_record(offset=offset) for offset in range(3)], assignment=1))

    asyncio.run(scenario())

    assert {3} == counts_at_every_level(env)


def test_events_that_were_deleted_and_are_read_again_are_counted_once() -> None:
    """In order, at the redelivery of a dead letter, and replayed: operators delete old events, and offsets expire."""
    env = Environment()
    late, bad = a_record(an_event(browser="edge"), offset=1), FakeRecord(value=b"", offset=2)
    records = [a_record(offset=0), late, bad, a_record(offset=3), a_record(offset=4, headers=replayed_from(offset=2))]
    del env.schemas.known[2]
    env.settle(a_batch(*records))
    env.schemas.known[2] = V2

    for assignment in range(1, 4):
        fates = env.settle(a_batch(*records, assignment=assignment))
        assert len(env.store.documents) == 4
        env.store.documents.clear()

    assert [Fates(stored=4, dead_lettered=1)] == fates
    assert {4} == counts_at_every_level(env)


def test_another_event_at_the_offset_of_a_stored_one_is_stored_beside_it() -> None:
    """A broker that lost the end of its log gives its offsets to other records: both events are counted, once."""
    env = Environment()
    env.settle(a_batch(a_record(offset=0), a_record(offset=1)))
    other = a_record(an_event(user_id="another", event_timestamp=NOW - 60_000), offset=1, timestamp=NOW + 5)

    first = env.settle(a_batch(a_record(offset=0), other, assignment=1))
    again = env.settle(a_batch(a_record(offset=0), other, assignment=2))

    assert [[Fates(stored=1, duplicates=1)], [Fates(duplicates=2)]] == [first, again]
    assert ["user-1", "user-1", "another"] == [each["user_id"] for each in env.store.documents.values()]
    assert {3} == counts_at_every_level(env)
    assert env.observer.reused_offsets == 1


def test_a_duplicate_is_counted_as_it_is_stored() -> None:
    """The registry can know another version of its schema by the time of the redelivery."""
    env = Environment(schemas=FakeSchemas(writer_schema(schema(1), schema_id=1, version="unregistered")))
    env.rollups.is_read_only = True

    async def scenario() -> None:
        ended = asyncio.create_task(env.sink.settle(a_batch(a_record())))
        await settled()
        ended.cancel()
        env.rollups.is_read_only = False
        env.schemas.known[1] = V1
        await env.sink.settle(a_batch(a_record(), assignment=1))

    asyncio.run(scenario())

    (rollup,) = env.rollups.documents["1d"].values()
    assert {"unregistered": 1} == rollup["versions"]


def test_a_duplicate_in_another_shape_is_counted_as_it_is_stored() -> None:
    """The latest schema can have another name for a counted field by the time of the redelivery."""
    agent = shapes.field("agent", shapes.TEXT, "browser", default=None)
    env = Environment(schemas=FakeSchemas(V2))
    env.rollups.is_read_only = True
    record = a_record(an_event(browser="lynx"))

    async def scenario() -> None:
        ended = asyncio.create_task(env.sink.settle(a_batch(record)))
        await settled()
        ended.cancel()
        env.rollups.is_read_only = False
        env.schemas.known[2] = in_shape_of(V2, shapes.latest(agent))
        await env.sink.settle(a_batch(record, assignment=1))

    asyncio.run(scenario())

    (rollup,) = env.rollups.documents["1d"].values()
    (stored,) = env.store.documents.values()
    assert {"lynx": 1} == rollup["browsers"]
    assert ("lynx", False) == (stored["browser"], "agent" in stored)


def replayed_from(*, offset: int) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a replayed dead letter."""
    values = {"topic": "user_events", "partition": "0", "offset": str(offset), "timestamp": str(NOW)}
    values |= {"incarnation": TOPIC_ID, "attempt": "1"}
    return tuple((f"streamapp.{name}", value.encode()) for name, value in values.items())


def test_a_duplicate_whose_time_another_program_has_changed_is_a_duplicate() -> None:
    """It cannot be counted by the time that is stored."""
    environment = Environment()
    environment.settle(a_batch(a_record(offset=0)))
    ((id_, document),) = environment.store.documents.items()
    environment.store.documents[id_] = {**document, "event_timestamp": datetime.now(UTC)}

    assert [Fates(duplicates=1)] == environment.settle(a_batch(a_record(offset=0)))


def test_a_stored_event_from_which_another_program_has_removed_a_field_is_not_counted() -> None:
    """The events after it are stored."""
    environment = Environment()
    environment.settle(a_batch(a_record(offset=0)))
    ((id_, document),) = environment.store.documents.items()
    environment.store.documents[id_] = {name: value for name, value in document.items() if name != "metadata"}

    assert [Fates(stored=1)] == environment.settle(a_batch(a_record(offset=1), begin=0, assignment=5))


def test_in_a_hurry_the_rollups_are_written_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches in flight wait for nothing else."""
    hurried: list[float] = []
    monkeypatch.setattr(RollupWriter, "hurry", lambda _, seconds: hurried.append(seconds))

    Environment().sink.hurry(2.5)

    assert hurried == [2.5]
