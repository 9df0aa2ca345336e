"""What the sample producer needs of the registry, and that nothing else needs it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest

from streamapp.model.user_event import VERSIONS
from streamapp.registry.registration import SchemaRegistration
from streamapp.retry import NoRetry
from streamapp.settings import Settings
from streamapp.worker import sample_schemas
from tests.support.registry_stub import Confluent, client_answered_by


def prepare(request: Any, **settings: Any) -> Any:
    """Prepare the sample schemas, without retries."""
    registration = SchemaRegistration(client_answered_by(request), outages=NoRetry("registry"))
    return asyncio.run(sample_schemas.prepare(registration, Settings(**settings)))


def refuse(url: str, method: str = "GET", **_: Any) -> httpx.Response:
    """Have no version, and accept none."""
    return httpx.Response(409 if method == "POST" else 404, json={"error_code": 40401})


def test_a_worker_without_producer_asks_nothing() -> None:
    """STREAMAPP_PRODUCE_INTERVAL_SECONDS=0: the subject is that of the events' producers."""
    confluent = Confluent()

    assert prepare(confluent, produce_interval_seconds=0) is None
    assert [] == confluent.requested


@pytest.mark.parametrize("register", [True, False])
def test_a_producer_without_schemas_is_logged_once(register: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The worker goes on without it; the line names the reason and the setting that turns the producer off."""
    caplog.set_level(logging.WARNING)

    assert prepare(refuse, register_schemas=register) is None

    (line,) = caplog.messages
    assert "does not produce sample events" in line
    assert "user_event_v1.avsc" in line
    assert "STREAMAPP_PRODUCE_INTERVAL_SECONDS=0" in line


def test_a_producer_gets_its_schemas() -> None:
    """They are registered."""
    assert {*VERSIONS} == {*prepare(Confluent())}
