"""When the worker says that it is ready."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from streamapp.decode.wire_format import EventCodec
from streamapp.errors import BrokerUnavailable, SettingsError, StoreUnavailable
from streamapp.kafka import admin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.monitoring.readiness import FRESH_FOR, Dependency, Part, Readiness, Waiting
from streamapp.retry import OutageRetrier
from streamapp.worker import dependencies as worker_dependencies
from streamapp.worker.dependencies import WorkerDependencies
from tests.support.backends import plain_settings
from tests.support.factories import a_letter


class Pinged:
    """A dependency that can go away, and a clock."""

    def __init__(self) -> None:
        self.is_away = False
        self.now = 0.0
        self.outages = OutageRetrier("MongoDB", clock=lambda: self.now)
        self.dependency = Dependency(name="mongodb", ping=self.ping, outages=[self.outages], clock=lambda: self.now)

    async def ping(self) -> None:
        """Answer, or not."""
        if self.is_away:
            raise StoreUnavailable("no server")


def a_readiness(*parts: Part) -> Readiness:
    """Return that of a worker that has looked and found nothing amiss."""
    readiness = Readiness(parts=parts, clock=lambda: 0.0)
    readiness.stall_detector.look([], 0.0)
    return readiness


def test_ready_takes_partitions_and_answers() -> None:
    """Neither is enough alone."""
    pinged = Pinged()
    readiness = a_readiness(pinged.dependency)
    assert readiness.report()[0] is False

    asyncio.run(pinged.dependency.ask())
    ready, states = readiness.report()
    assert (False, "not assigned yet", "ok") == (ready, states["partitions"], states["mongodb"])

    readiness.partitions = 4
    assert (True, {"ok"}) == (readiness.report()[0], {*readiness.report()[1].values()})


def test_ready_takes_an_agent_that_runs_and_all_that_moves() -> None:
    """Each is named."""
    readiness = a_readiness()
    readiness.partitions = 4
    readiness.is_agent_running = lambda: False
    assert (False, "it does not run") == (readiness.report()[0], readiness.report()[1]["agent"])

    readiness.is_agent_running = lambda: True
    readiness.clock = lambda: 60.0
    assert (False, "not looked at for 60 s") == (readiness.report()[0], readiness.report()[1]["commits"])


def test_what_is_repeated_for_long_is_no_hiccup() -> None:
    """Even where it answers, as a MongoDB that takes no writes does."""
    pinged = Pinged()
    pinged.outages._note_failure(StoreUnavailable("read-only"))
    letters = Waiting("dead_letters", [pinged.outages])
    asyncio.run(pinged.dependency.ask())
    assert ("ok", "ok") == (pinged.dependency.state, letters.state)

    pinged.now = 4
    assert ("failing for 4 s: read-only",) * 2 == (pinged.dependency.state, letters.state)

    pinged.outages._note_success()
    assert ("ok", "ok") == (pinged.dependency.state, letters.state)


def test_an_answer_grows_stale() -> None:
    """A dependency that went away is noticed, and so is its return."""
    pinged = Pinged()
    asyncio.run(pinged.dependency.ask())
    pinged.is_away = True
    pinged.now = FRESH_FOR + 1
    asyncio.run(pinged.dependency.ask())
    assert pinged.dependency.state == "no answer for 6 s: no server"

    pinged.is_away = False
    asyncio.run(pinged.dependency.ask())
    assert pinged.dependency.state == "ok"


def test_a_worker_without_partitions_of_its_own_is_ready() -> None:
    """It stands by for the others of its group."""
    readiness = a_readiness()
    readiness.partitions = 0

    assert readiness.report()[0] is True


@pytest.fixture(autouse=True)
def _short_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PING_TIMEOUT", 0.1)


def an_upstream(readiness: Readiness, prepare_topics: Callable[[], Awaitable[None]]) -> WorkerDependencies:
    """Return one at whose addresses nobody answers."""
    settings = plain_settings(
        kafka_bootstrap_servers="127.0.0.1:1",
        schema_registry_url="http://127.0.0.1:1",
        mongo_uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100",
        topic="t",
    )
    made = WorkerDependencies(settings, EventCodec(), readiness, OutageRetrier("Kafka"))
    made._prepare_topics = prepare_topics
    return made


def test_the_worker_asks_all_of_its_servers_and_names_the_dead_letter_topic() -> None:
    """Kafka too; and its one topic may be away while Kafka is there."""
    readiness = Readiness()

    async def there() -> None: ...

    async def scenario() -> str:
        service = an_upstream(readiness, there)
        await service.start()
        await service.stop()
        return service.sink._outages.dead_letters.name

    assert asyncio.run(scenario()) == "the dead-letter topic t.dlq"
    dependencies = {"mongodb", "mongodb_writes", "schema_registry", "kafka", "dead_letters"}
    assert dependencies | {"partitions", "agent", "settling", "commits"} == readiness.report()[1].keys()


def test_topics_that_kafka_refuses_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is started meanwhile, and the stop is not held up."""
    told: list[str] = []
    monkeypatch.setattr(worker_dependencies, "give_up", told.append)

    async def refused() -> None:
        raise SettingsError("no such topic")

    async def scenario() -> None:
        service = an_upstream(Readiness(), refused)
        starting = asyncio.create_task(service.start())
        await asyncio.sleep(0.2)
        assert not starting.done()
        await service.stop()
        await asyncio.wait_for(starting, 5)

    asyncio.run(scenario())
    assert ["no such topic"] == told


def test_a_stop_before_the_start_is_no_error() -> None:
    """Nothing has been opened then."""

    async def never() -> None: ...

    async def scenario() -> None:
        await an_upstream(Readiness(), never).on_stop()

    asyncio.run(scenario())


def test_dead_letters_do_not_wait_for_the_threads_of_others() -> None:
    """Nor are any taken once they are closed."""
    go_on = threading.Event()
    topic = DeadLetterProducer(bootstrap_servers="127.0.0.1:1", topic="t.dlq")
    topic._send = lambda _: None

    async def scenario() -> None:
        others = [asyncio.create_task(asyncio.to_thread(go_on.wait, 20)) for _ in range(100)]
        await asyncio.sleep(0.1)
        try:
            await asyncio.wait_for(topic.send([a_letter()]), 5)
        finally:
            go_on.set()
        await asyncio.gather(*others)
        topic.close()
        with pytest.raises(BrokerUnavailable):
            await topic.send([a_letter()])

    asyncio.run(scenario())
