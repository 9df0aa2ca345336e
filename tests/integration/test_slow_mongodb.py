"""Events out of order and a MongoDB that is slow: few round trips, and fewer events after a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from streamapp.errors import StoreUnavailable
from streamapp.mongodb import out_of_order_store
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.settings import Settings
from tests.support.factories import NOW
from tests.support.rollup_factory import an_event

#: Of 100 different minutes.
EVENTS = [an_event(offset, event_timestamp=NOW - offset * 60_000) for offset in range(100)]


class Commands(CommandListener):
    """Keeps the names of the commands."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        """Keep the name."""
        self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        """Ignore it."""

    def failed(self, event: Any) -> None:
        """Ignore it."""


@pytest.fixture
def commands() -> Commands:
    """Return the commands that the store sends."""
    return Commands()


@pytest.fixture
def store(settings: Settings, commands: Commands) -> Iterator[OutOfOrderStore]:
    """Return a store of events out of order."""
    uri = settings.mongo_uri.get_secret_value()
    mongo = Mongo(uri, settings.mongo_database)
    mongo.client = MongoClient(uri, event_listeners=[commands])
    mongo.database = mongo.primary = mongo.client[settings.mongo_database]
    yield OutOfOrderStore(mongo, RollupStore(mongo, keep={}), keep={})
    mongo.close()


def test_a_transaction_takes_few_round_trips(store: OutOfOrderStore, commands: Commands) -> None:
    """However many events and buckets it has: each takes the time of the network, and the transaction has a limit."""
    asyncio.run(store.insert(EVENTS))

    assert len(commands.names) < 20


def test_after_a_timeout_the_next_transaction_has_half_as_many_events(
    store: OutOfOrderStore, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that MongoDB is slow, not that it is unreachable."""
    with monkeypatch.context() as patched:
        patched.setattr(out_of_order_store, "ANSWER_TIMEOUT_MS", 0.01)
        for expected in ("100 events .* the next attempt takes 50", "50 events .* the next attempt takes 25"):
            with pytest.raises(StoreUnavailable, match=f"MongoDB is slow: it did not store and count {expected}"):
                asyncio.run(store.insert(EVENTS))
    commands.names.clear()

    asyncio.run(store.insert(EVENTS))

    assert 3 == commands.names.count("commitTransaction")  # 25, 50 and 25 events
