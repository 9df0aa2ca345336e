"""The service of a worker whose servers do not answer: start, failure and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streamapp.decode.wire_format import EventCodec
from streamapp.errors import SettingsError
from streamapp.kafka import admin
from streamapp.mongodb.event_store import EventStore
from streamapp.registry.canonical_schemas import CanonicalSchemas
from streamapp.registry.latest_schema import EventSchema
from streamapp.retry import OutageRetrier
from streamapp.worker import service as worker_service
from streamapp.worker.dependencies import WorkerDependencies, create
from streamapp.worker.service import WorkerService
from tests.support.backends import plain_settings
from tests.support.factories import V2
from tests.support.until import until

SETTINGS = plain_settings(
    kafka_bootstrap_servers="127.0.0.1:1",
    schema_registry_url="http://127.0.0.1:1",
    mongo_uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100",
    topic="t",
)


@pytest.fixture(autouse=True)
def _short_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PING_TIMEOUT", 0.1)


def some_dependencies() -> WorkerDependencies:
    """Return the dependencies of a worker; no server listens at their addresses."""
    return create(SETTINGS, is_agent_running=lambda: True, kafka_outages=OutageRetrier("Kafka"))


def a_service(dependencies: WorkerDependencies) -> WorkerService:
    """Return the service of a worker."""
    return WorkerService(dependencies, settings=SETTINGS, codec=EventCodec())


def test_dependencies_are_complete_before_the_service_starts() -> None:
    """/readyz and /metrics answer while Kafka is unreachable, and name each dependency."""
    dependencies = some_dependencies()

    is_ready, states = dependencies.readiness.report()
    page = dependencies.metrics.render().decode()
    dependencies.clients.close()

    names = {"partitions", "agent", "settling", "commits"}
    names |= {"mongodb", "mongodb_writes", "schema_registry", "kafka", "dead_letters"}
    assert (False, names) == (is_ready, states.keys())
    assert 'streamapp_records_total{fate="stored"} 0' in page
    assert "the dead-letter topic t.dlq" == dependencies.retriers.dead_letters.name


@pytest.mark.parametrize(("canonical", "notes"), [(True, ["v2"]), (False, [])])
def test_events_are_stored_as_written_where_the_setting_says_so(
    monkeypatch: pytest.MonkeyPatch, canonical: bool, notes: list[str]
) -> None:
    """No shape is noted then."""
    noted = list[str]()

    async def note(_: EventStore, __: str, version: int, ___: Sequence[str]) -> None:
        noted.append(f"v{version}")

    monkeypatch.setattr(EventStore, "note_canonical", note)
    settings = SETTINGS.model_copy(update={"canonical": canonical})
    dependencies = create(settings, is_agent_running=lambda: True, kafka_outages=OutageRetrier("Kafka"))
    latest = EventSchema(version=2, texts=["{}"], writer=V2)

    asyncio.run(dependencies.clients.latest_schema._note(latest))
    schemas = dependencies.sink._ports.schemas
    dependencies.clients.close()

    assert canonical == isinstance(schemas, CanonicalSchemas)
    assert notes == noted


def test_servers_are_pinged_once_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result of each ping is in /readyz."""
    dependencies = some_dependencies()
    service = a_service(dependencies)

    async def ready() -> None: ...

    def are_checked() -> bool:
        return all(server.error != "not checked yet" for server in dependencies.servers)

    async def scenario() -> None:
        await service.start()
        await asyncio.to_thread(until, are_checked, what="a ping of each server")
        await service.stop()

    monkeypatch.setattr(service, "_ensure_topics", ready)
    asyncio.run(scenario())


def test_topics_that_kafka_refuses_stop_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start does not complete, so that nothing else starts; the stop ends it."""
    errors: list[str] = []
    monkeypatch.setattr(worker_service, "stop_worker", errors.append)
    service = a_service(some_dependencies())

    async def refused() -> None:
        raise SettingsError("no such topic")

    async def scenario() -> None:
        starting = asyncio.create_task(service.start())
        await asyncio.to_thread(until, lambda: errors, what="the error")
        assert not starting.done()
        await service.stop()
        await asyncio.wait_for(starting, 30)

    monkeypatch.setattr(service, "_ensure_topics", refused)
    asyncio.run(scenario())
    assert ["no such topic"] == errors


def test_stop_before_the_start_closes_the_clients() -> None:
    """A signal may come before Faust starts the service."""
    asyncio.run(a_service(some_dependencies()).on_stop())
