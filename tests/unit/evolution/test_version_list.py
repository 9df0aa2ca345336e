"""The list of versions combines registry, MongoDB and checkout."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest

from streamapp.errors import RegistryUnavailable
from streamapp.evolution.version_list import (
    ListedVersion,
    StoredCounts,
    StoredVersion,
    known_files,
    listed,
    registered_versions,
)
from streamapp.model import event
from tests.support.factories import V1, V2
from tests.support.registry_stub import Confluent, client_answered_by

SEEN_AT = datetime(2026, 11, 29, tzinfo=UTC)


def listed_version(label: str, **facts: object) -> ListedVersion:
    """Return a version of which only these facts are known."""
    defaults = {
        "schema_id": None,
        "first_seen_at": None,
        "events": 0,
        "last_day": 0,
        "file": None,
        "is_registered": True,
    }
    return ListedVersion(label=label, **(defaults | facts))


def test_each_version_of_the_registry_is_listed() -> None:
    """With the file of this checkout that has the same schema."""
    found = listed([V2, V1], StoredCounts(), known_files())

    assert [
        listed_version("v1", schema_id=1, file="user_event_v1.avsc"),
        listed_version("v2", schema_id=2, file="user_event_v2.avsc"),
    ] == found


def test_a_version_that_was_deleted_is_listed_from_what_is_stored() -> None:
    """As are events with schemas of other subjects; versions come by number."""
    stored = StoredCounts(
        versions={"v10": StoredVersion(schema_id=10, first_seen_at=SEEN_AT)},
        events=Counter({"unregistered": 4, "v10": 3, "v1": 2}),
        last_day=Counter({"v10": 1}),
    )

    assert [
        listed_version("v1", schema_id=1, events=2),
        listed_version("v10", schema_id=10, first_seen_at=SEEN_AT, events=3, last_day=1, is_registered=False),
        listed_version("unregistered", events=4, is_registered=False),
    ] == listed([V1], stored, {})


def test_the_versions_of_the_registry_have_their_ids() -> None:
    """As its API names them."""
    registry = Confluent()
    registry.versions = [
        {"id": 100 + number, "version": number, "schema": json.dumps(event.schema(number))} for number in (1, 2)
    ]
    found = asyncio.run(registered_versions(client_answered_by(registry)))

    assert [("v1", 101), ("v2", 102)] == [(each.version, each.schema_id) for each in found]


def test_a_version_that_disappears_is_an_answer_to_repeat() -> None:
    """It was deleted between two requests."""

    def request(url: str, **_: object) -> httpx.Response:
        if url.endswith("/versions"):
            return httpx.Response(200, json=[1])
        return httpx.Response(404, json={"error_code": 40402})

    with pytest.raises(RegistryUnavailable, match="lists v1 of user_events-value, and then has no such version"):
        asyncio.run(registered_versions(client_answered_by(request)))
