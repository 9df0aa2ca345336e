"""What the reader costs MongoDB, and what it says when MongoDB gives no answer."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from dashboard.data.connection import LIMIT_SECONDS, Connection, address
from dashboard.data.direct import query
from dashboard.data.reader import MongoReader
from dashboard.model import time_window
from dashboard.model.errors import DisconnectedError, RefusedError, TooSlowError
from dashboard.model.snapshot import Filter
from tests.support.doubles.dashboard_reader import document
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from streamapp.local.backend import Backend

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
WINDOW = time_window.window(time_window.DEFAULT, NOW)
SUBJECT = "user_events-value"
SECRET = "hunter2"


@pytest.fixture
def database(backend: Backend, unique_name: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](backend.addresses.mongo_uri) as client:
        yield client[unique_name]
        client.drop_database(unique_name)


def test_reading_makes_nothing(backend: Backend, unique_name: str, database: Database[dict[str, Any]]) -> None:
    """A database that is absent stays absent."""
    connection = Connection(uri=backend.addresses.mongo_uri, database=unique_name)
    reader = MongoReader(connection, subject=SUBJECT)

    assert reader.overview() is None
    assert 0 == reader.found_directly(WINDOW, Filter()).counts.users
    assert unique_name not in database.client.list_database_names()
    connection.close()


def test_query_uses_the_index_on_event_time(database: Database[dict[str, Any]]) -> None:
    """It reads the events of the window, not all of them."""
    events = database["events"]
    events.create_index("event_timestamp")
    events.insert_many(document(NOW - timedelta(hours=i)) for i in range(200))

    command = {"find": "events", "filter": query(WINDOW), "sort": {"event_timestamp": -1}}
    explained = database.command("explain", command, verbosity="executionStats")

    assert "'IXSCAN'" in str(explained)
    assert 1 == explained["executionStats"]["totalDocsExamined"]


def test_query_beyond_its_limit_is_stopped_and_said(
    backend: Backend, unique_name: str, database: Database[dict[str, Any]]
) -> None:
    """By the server too, which does not go on working for nobody."""
    ours = {"appName": "streamapp dashboard", "active": True, "ns": f"{unique_name}.events"}
    in_progress = [{"$currentOp": {}}, {"$match": ours}]
    database["events"].insert_many(document(NOW, user_id=f"user-{i}") for i in range(30_000))
    limit = 0.03
    connection = Connection(uri=backend.addresses.mongo_uri, database=unique_name, limit_seconds=limit)
    reader = MongoReader(connection, subject=SUBJECT)

    with pytest.raises(TooSlowError, match=r"took longer than 0\.03 s"):
        reader.found_directly(WINDOW, Filter())

    until(lambda: not list(database.client.admin.aggregate(in_progress)), within=LIMIT_SECONDS, what="its end")
    connection.close()


def test_absent_server_is_told_within_the_limit_and_without_the_password() -> None:
    """The page waits no longer, and shows no secret."""
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    connection = Connection(uri=f"mongodb://someone:{SECRET}@127.0.0.1:{port}/", database="any")
    reader = MongoReader(connection, subject=SUBJECT)
    started_at = time.monotonic()

    with pytest.raises(DisconnectedError, match=f"MongoDB at 127.0.0.1:{port} does not answer") as caught:
        reader.overview()

    assert time.monotonic() - started_at < LIMIT_SECONDS + 1
    assert SECRET not in str(caught.value)
    connection.close()


@pytest.mark.parametrize("uri", [f"mongodb://u:{SECRET}/@h", f"mongodb://u:{SECRET}@h:port/"])
def test_unusable_connection_string_is_never_quoted(uri: str) -> None:
    """The driver's own message would."""
    connection = Connection(uri=uri, database="any")
    reader = MongoReader(connection, subject=SUBJECT)

    with pytest.raises(RefusedError, match="STREAMAPP_MONGO_URI") as caught:
        reader.overview()

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://localhost:27017/?directConnection=true", "localhost:27017"),
        (f"mongodb://u:{SECRET}@a:1,b:2/db?replicaSet=rs0", "a:1,b:2"),
        (f"mongodb+srv://u:{SECRET}@cluster.example.com", "cluster.example.com"),
        ("mongodb://[::1]:27017", "[::1]:27017"),
        (f"mongodb://u:{SECRET}/more@h:1/", "the address in STREAMAPP_MONGO_URI"),
        (f"mongodb://u:{SECRET}@more@h:1/", "the address in STREAMAPP_MONGO_URI"),
    ],
)
def test_address_is_the_hosts_alone(uri: str, shown: str) -> None:
    """No user, no password; where it is unclear what is what, nothing."""
    assert shown == address(uri)
