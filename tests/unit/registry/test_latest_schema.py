"""The latest schema is learned in the background, and gives all events their shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from streamapp.decode import wire_format
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.errors import RegistryUnavailable
from streamapp.model import event
from streamapp.registry import latest_schema
from streamapp.registry.canonical_schemas import CanonicalSchemas
from streamapp.registry.latest_schema import EventSchema, LatestSchema
from streamapp.retry import OutageRetrier, RetryPolicy
from tests.support.factories import V1, V2, an_event, wire
from tests.support.registry_stub import Confluent, client_answered_by
from tests.support.shapes import TEXT, event_schema, field

BROWSER = field("browser", TEXT, default=None)
PLAN = event_schema(BROWSER, field("plan", default="free"))


class Registry:
    """A subject whose versions a test sets; it can refuse, and counts the requests."""

    def __init__(self, *schemas: Any) -> None:
        self.confluent = Confluent()
        self.failure: httpx.Response | Exception | None = None
        self.noted: list[int] = []
        #: One for each call of `on_change`, which fails if it is an error.
        self.changes: list[Exception | None] = []
        self.next_changes: list[Exception] = []
        self.client = client_answered_by(self._request)
        self.latest = LatestSchema(
            self.client,
            outages=OutageRetrier("registry", policy=RetryPolicy(first_wait=0.001, max_wait=0.001)),
            note=self._note,
            on_change=self._change,
        )
        self.add(*schemas)

    def add(self, *schemas: Any) -> None:
        """Register versions."""
        for schema in schemas:
            number = len(self.confluent.versions) + 1
            self.confluent.versions.append({"id": 100 + number, "version": number, "schema": json.dumps(schema)})

    def _request(self, url: str, **options: Any) -> httpx.Response:
        if isinstance(self.failure, Exception):
            raise self.failure
        return self.failure or self.confluent(url, **options)

    async def _note(self, found: EventSchema) -> None:
        self.noted.append(found.version)

    async def _change(self) -> None:
        error = self.next_changes.pop() if self.next_changes else None
        self.changes.append(error)
        if error:
            raise error


class Written:
    """Writer schemas that are known."""

    def __init__(self, *writers: WriterSchema) -> None:
        self.known = {writer.schema_id: writer for writer in writers}

    async def resolve(self, schema_ids: Any) -> Any:
        """Return all."""
        return self.known


def run(registry: Registry, scenario: Callable[[], Awaitable[Any]]) -> Any:
    """Run a scenario while the schema is followed."""

    async def both() -> Any:
        following = asyncio.create_task(registry.latest.follow())
        try:
            async with asyncio.timeout(20):
                return await scenario()
        finally:
            following.cancel()

    return asyncio.run(both())


async def version(registry: Registry) -> int | None:
    """The version of the latest schema."""
    found = await registry.latest.get()
    return found.version if found else None


async def until_version(registry: Registry, wanted: int | None) -> None:
    """Wait until a version is the latest."""
    while await version(registry) != wanted:  # noqa: ASYNC110 - the registry sends no event
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_schema, "REFRESH_SECONDS", 0.01)


def test_a_new_version_takes_effect_in_a_running_worker() -> None:
    """And so does the deletion of one; each is noted before."""
    registry = Registry(event.schema(1), event.schema(2))

    async def scenario() -> None:
        await until_version(registry, 2)
        registry.add(PLAN)
        await until_version(registry, 3)
        del registry.confluent.versions[1:]
        await until_version(registry, 1)
        registry.confluent.versions.clear()
        await until_version(registry, None)

    run(registry, scenario)
    assert [2, 3, 1] == registry.noted
    assert [None] * 3 == registry.changes


def test_an_unchanged_version_is_read_once() -> None:
    """Each later refresh is one request."""
    registry = Registry(event.schema(1), event.schema(2))

    async def scenario() -> list[str]:
        await registry.latest.get()
        done = len(registry.confluent.requested)
        while len(registry.confluent.requested) < done + 5:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.005)
        return registry.confluent.requested[done:]

    requested = run(registry, scenario)
    assert {"GET subjects/user_events-value/versions/latest"} == {*requested}


@pytest.mark.parametrize(
    "unusable",
    [
        "string",
        {**event.schema(1), "fields": event.schema(1)["fields"][1:]},
        event_schema(field("x", "string", doc="x" * 5_000_000)),
    ],
)
def test_a_version_that_gives_no_shape_is_passed_over(unusable: Any) -> None:
    """Its records are no events, or it is too large."""
    registry = Registry(event.schema(1), PLAN, unusable)

    assert run(registry, lambda: version(registry)) == 2


def test_without_a_schema_of_events_there_is_none() -> None:
    """Events of other subjects are stored as written."""
    registry = Registry("string")

    assert run(registry, lambda: version(registry)) is None


def test_a_schema_that_is_nested_too_deeply_in_a_part_without_meaning_gives_no_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no JSON form that could be stored."""

    def refuse(_: Any) -> str:
        raise RecursionError

    registry = Registry(event.schema(1))
    monkeypatch.setattr(latest_schema, "json", SimpleNamespace(dumps=refuse))

    assert run(registry, lambda: version(registry)) is None


def test_in_an_outage_the_last_known_schema_stays() -> None:
    """At a start, the first answer is waited for."""
    registry = Registry(PLAN)
    registry.failure = httpx.ConnectError("refused")

    async def scenario() -> int:
        following = asyncio.create_task(registry.latest.get())
        done, _ = await asyncio.wait([following], timeout=0.1)
        assert not done
        registry.failure = None
        await following
        registry.failure = httpx.ConnectError("refused")
        await registry.latest.refresh()
        registry.failure = httpx.Response(403)
        await registry.latest.refresh()
        found = await registry.latest.get()
        assert found is not None
        return found.version

    assert run(registry, scenario) == 1


def test_after_an_outage_and_a_change_ids_may_have_another_meaning() -> None:
    """What is known of them is read again, until it has succeeded."""
    registry = Registry(PLAN)
    failure = RegistryUnavailable("down")

    async def scenario() -> None:
        await registry.latest.get()
        await registry.latest.refresh()
        assert [] == registry.changes
        registry.failure = httpx.ConnectError("refused")
        await registry.latest.refresh()
        registry.failure, registry.next_changes = None, [failure]
        for _ in range(3):
            await registry.latest.refresh()
        assert [failure, None] == registry.changes

    asyncio.run(_without_following(registry, scenario))


async def _without_following(registry: Registry, scenario: Callable[[], Awaitable[None]]) -> None:
    await registry.latest.refresh()
    await scenario()


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_registry_that_cannot_answer_at_the_start_is_waited_for(status: int) -> None:
    """As for an id."""
    registry = Registry(PLAN)
    registry.failure = httpx.Response(status)

    async def scenario() -> int | None:
        done, _ = await asyncio.wait([asyncio.create_task(registry.latest.get())], timeout=0.1)
        assert not done
        registry.failure = None
        return await version(registry)

    assert run(registry, scenario) == 1


def test_a_registry_that_refuses_the_subject_does_not_stop_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """Events are stored as written until it grants the right."""
    registry = Registry(PLAN)
    registry.failure = httpx.Response(403)

    async def scenario() -> None:
        assert await registry.latest.get() is None
        registry.failure = None
        await until_version(registry, 1)

    run(registry, scenario)
    assert "Events are stored as written" in caplog.text


def test_events_of_all_versions_have_the_shape_of_the_latest() -> None:
    """Compiled once for each; unknown ids stay unknown."""
    registry = Registry(event.schema(1), event.schema(2), PLAN)
    schemas = CanonicalSchemas(Written(V1, V2), registry.latest)

    async def scenario() -> None:
        found = await schemas.resolve({1, 2, 9})
        again = await schemas.resolve({1})
        assert 9 not in found
        assert found[1] is again[1]
        assert {**an_event(), "plan": "free"} == wire_format.read(wire(an_event()), found[1])

    run(registry, scenario)


def test_without_known_ids_nothing_is_waited_for() -> None:
    """A batch of other records has its fate also while the registry is unreachable."""
    registry = Registry()
    registry.failure = httpx.ConnectError("refused")
    schemas = CanonicalSchemas(Written(), registry.latest)

    assert {} == run(registry, lambda: schemas.resolve({7}))


def test_without_a_latest_schema_events_are_stored_as_written() -> None:
    """For example those of another subject."""
    schemas = CanonicalSchemas(Written(V1), Registry().latest)

    async def scenario() -> None:
        assert V1 is (await schemas.resolve({1}))[1]

    registry = Registry()
    schemas = CanonicalSchemas(Written(V1), registry.latest)
    run(registry, scenario)


def test_the_first_record_of_a_later_version_tells_that_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch has the new shape already, however long the refresh takes; another label of an id counts."""
    monkeypatch.setattr(latest_schema, "REFRESH_SECONDS", 1_000)
    registry, written = Registry(event.schema(1), event.schema(2)), Written(V1, V2)
    schemas = CanonicalSchemas(written, registry.latest)

    async def scenario() -> None:
        assert V2 is (await schemas.resolve({1, 2}))[2]
        registry.add(PLAN)
        assert V2 is (await schemas.resolve({1, 2}))[2]
        written.known[3] = writer_schema(PLAN, schema_id=3, version="v3")
        written.known[4] = writer_schema(PLAN, schema_id=4, version="unregistered")
        assert V2 is not (await schemas.resolve({4, 2, 3}))[2]

    run(registry, scenario)
