"""Registration, with the answers of a registry that refuses."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from streamapp.compatibility.validity import parse
from streamapp.errors import RegistryUnavailable, StreamappError
from streamapp.evolution import registering
from streamapp.evolution.registering import RegistrationRefused
from streamapp.evolution.sources import NamedSchema
from tests.support.registry_stub import client_answered_by
from tests.support.schema_pairs import TEXT, record

SCHEMA = NamedSchema(label="new.avsc", parsed=parse(record(TEXT)), json=record(TEXT))


def test_a_refusal_has_the_answer_of_the_registry() -> None:
    """It may have rules of its own."""
    client = client_answered_by(lambda *_, **__: httpx.Response(409, json={"error_code": 409, "message": "frozen"}))

    with pytest.raises(RegistrationRefused, match=r"refuses new.avsc under user_events-value: .*frozen.* \(409\)"):
        asyncio.run(registering.register(client, SCHEMA))


def test_a_registry_that_may_answer_later_is_no_refusal() -> None:
    """The command can be run again."""
    client = client_answered_by(lambda *_, **__: httpx.Response(503))

    with pytest.raises(RegistryUnavailable) as error:
        asyncio.run(registering.register(client, SCHEMA))
    assert not isinstance(error.value, RegistrationRefused)


def test_an_unknown_level_is_an_error() -> None:
    """It cannot be checked."""
    client = client_answered_by(lambda *_, **__: httpx.Response(200, json={"compatibilityLevel": "SIDEWAYS"}))

    with pytest.raises(StreamappError, match="the level 'SIDEWAYS' of user_events-value at http://registry is unknown"):
        asyncio.run(registering.level_of(client))


def test_the_level_of_the_registry_holds_for_a_subject_without_one() -> None:
    """Confluent's registry answers 404 for the subject."""

    def request(url: str, **_: object) -> httpx.Response:
        if url.endswith("/config"):
            return httpx.Response(200, json={"compatibilityLevel": "FULL"})
        return httpx.Response(404, json={"error_code": 40408})

    assert "FULL" == asyncio.run(registering.level_of(client_answered_by(request)))
