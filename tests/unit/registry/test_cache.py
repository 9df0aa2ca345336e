"""Which look-ups the cache sends: none for known ids, one for several batches, a few for unknown ids."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from streamapp.decode.writer_schema import WriterSchema
from streamapp.model import event
from streamapp.registry import cache as schema_cache
from streamapp.registry.cache import SchemaCache
from streamapp.retry import OutageRetrier, RetryPolicy
from tests.support.factories import V1, V2
from tests.support.registry_stub import SUBJECT, client_answered_by, without_any_id


def test_several_batches_share_one_look_up_and_its_retries() -> None:
    """While the registry is unreachable, one task retries for all of them."""
    answers = iter([httpx.ConnectError("refused"), httpx.Response(200, json={"schema": json.dumps(event.schema(1))})])
    requested: list[str] = []

    def request(url: str, **_: Any) -> httpx.Response:
        if url.endswith("versions"):
            return httpx.Response(200, json=[{"subject": SUBJECT, "version": 4}])
        requested.append(url)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    outages = OutageRetrier("registry", policy=RetryPolicy(first_wait=0, max_wait=0))
    cache = SchemaCache(client_answered_by(request), outages=outages)

    async def scenario() -> list[str]:
        found = await asyncio.gather(*(cache.resolve({9}) for _ in range(5)))
        return [schemas[9].version for schemas in found]

    assert ["v4"] * 5 == asyncio.run(scenario())
    assert len(requested) == 2


def test_a_cancelled_batch_does_not_cancel_the_look_up_of_another() -> None:
    """Both wait for the same id."""
    answered = asyncio.Event()

    class Slow:
        async def look_up(self, schema_id: int) -> WriterSchema | None:
            await answered.wait()
            return V1

    async def scenario() -> bool:
        cache = SchemaCache(Slow())
        first, second = (asyncio.create_task(cache.resolve({V1.schema_id})) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        answered.set()
        return V1.schema_id in await second

    assert asyncio.run(scenario())


def test_an_added_schema_is_not_looked_up() -> None:
    """Registration adds the schemas that it has registered, and each is reported as learned."""
    requested, learned = list[str](), list[WriterSchema]()
    cache = SchemaCache(client_answered_by(without_any_id(requested)), on_learned=learned.append)
    cache.add(V1)

    assert V1 is asyncio.run(cache.resolve({V1.schema_id}))[V1.schema_id]
    assert [] == requested
    assert [V1] == learned


def test_an_unknown_id_is_looked_up_with_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times during the grace period, and again once the negative answer has expired."""
    now, waits, requested = [0.0], list[float](), list[str]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(schema_cache.asyncio, "sleep", sleep)
    cache = SchemaCache(client_answered_by(without_any_id(requested)), clock=lambda: now[0])

    asyncio.run(cache.resolve({9}))
    assert [0.5, 1.0, 1.5, 2.0] == waits
    assert len(requested) == 5

    asyncio.run(cache.resolve({9}))
    assert len(requested) == 5
    now[0] += schema_cache.NEGATIVE_TTL_SECONDS
    asyncio.run(cache.resolve({9}))
    assert len(requested) == 6


def test_a_schema_with_a_lost_reference_is_looked_up_again() -> None:
    """Its records are dead letters only until the registry has the schema that it refers to."""
    now, answers = [0.0], iter([replace(V1, is_incomplete=True, problem="a lost reference"), V1])

    class Restored:
        async def look_up(self, schema_id: int) -> WriterSchema | None:
            return next(answers)

    async def scenario() -> list[str | None]:
        cache = SchemaCache(Restored(), clock=lambda: now[0])
        problems = [(await cache.resolve({V1.schema_id}))[V1.schema_id].problem for _ in range(2)]
        now[0] += schema_cache.NEGATIVE_TTL_SECONDS
        await cache.resolve({V1.schema_id})
        await asyncio.sleep(0)
        return [*problems, (await cache.resolve({V1.schema_id}))[V1.schema_id].problem]

    assert ["a lost reference", "a lost reference", None] == asyncio.run(scenario())


def test_unknown_ids_are_cached_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the oldest is dropped, and looked up again."""
    monkeypatch.setattr(schema_cache, "MAX_UNKNOWN_IDS", 3)
    monkeypatch.setattr(schema_cache, "_GRACE_WAITS", ())
    requested: list[str] = []
    cache = SchemaCache(client_answered_by(without_any_id(requested)))

    for schema_id in (1, 2, 3, 4):
        asyncio.run(cache.resolve({schema_id}))
    asyncio.run(cache.resolve({2, 3, 4}))
    assert len(requested) == 4

    asyncio.run(cache.resolve({1}))
    assert len(requested) == 5


def test_ids_that_no_registry_gives_are_not_looked_up() -> None:
    """Schema ids are positive; others on the wire are errors of their producer."""
    requested: list[str] = []

    assert {} == asyncio.run(SchemaCache(client_answered_by(without_any_id(requested))).resolve({0, -1}))
    assert [] == requested


def test_known_ids_are_looked_up_again_where_the_registry_may_have_changed_them() -> None:
    """An id that it has lost keeps its schema."""
    answers: dict[int, WriterSchema] = {1: replace(V1, version="v7")}

    class Restored:
        async def look_up(self, schema_id: int) -> WriterSchema | None:
            return answers.get(schema_id)

    cache = SchemaCache(Restored())
    cache.add(V1)
    cache.add(V2)

    asyncio.run(cache.revalidate())

    assert {1: answers[1], 2: V2} == asyncio.run(cache.resolve({1, 2}))
