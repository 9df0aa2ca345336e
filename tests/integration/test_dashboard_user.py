"""The user of MongoDB in docs/how-to/serve-the-dashboard.md can read all that the page shows, and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from dashboard.data.connection import Connection
from dashboard.data.pipeline import MongoPipeline
from dashboard.data.reader import MongoReader
from dashboard.model import time_window
from dashboard.model.errors import RefusedError
from dashboard.model.snapshot import Filter
from streamapp import net
from streamapp.local import mongod, programs
from streamapp.local.process import Server
from tests.support import rollup_factory
from tests.support.doubles.dashboard_pipeline import partition, worker
from tests.support.doubles.dashboard_reader import document

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-the-dashboard.md"
NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
SUBJECT, DATABASE, SECRET = "user_events-value", "streaming_db", "hunter2"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a MongoDB that asks for passwords, with events and the guide's user in it."""
    folder, port = tmp_path_factory.mktemp("mongod"), net.choose_port(27_117, but=[])
    options = ["--auth", "--bind_ip", net.HOST, "--port", str(port), "--dbpath", str(folder), "--nounixsocket"]
    command = [str(programs.mongod(None)), *options, "--wiredTigerCacheSizeGB", "0.25"]
    server = Server(name="MongoDB", command=command, log=folder / "mongod.log", answers=lambda: answers(port))
    server.start()
    with MongoClient[dict[str, Any]](mongod.uri(port)) as client:
        client.admin.command("createUser", "root", pwd="root", roles=["root"])
    with MongoClient[dict[str, Any]](mongod.uri(port), username="root", password="root") as client:
        client.admin.command("createUser", "streamapp_page", pwd=SECRET, roles=roles_of_the_guide())
        client.admin.command("createUser", "nobody", pwd=SECRET, roles=[])
        rollup_factory.insert(client[DATABASE], [document(NOW), document(NOW, browser="edge")])
        client[DATABASE]["pipeline_state"].insert_many([{**partition(), "_id": "partition:a:0"}, worker()])
    yield port
    server.stop()


def answers(port: int) -> bool:
    try:
        with MongoClient[dict[str, Any]](mongod.uri(port), serverSelectionTimeoutMS=500) as client:
            return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False


def roles_of_the_guide() -> list[dict[str, str]]:
    pairs = re.findall(r'\{ role: "(\w+)", db: "(\w+)" \}', GUIDE.read_text())
    return [{"role": role, "db": database} for role, database in pairs]


def connection(port: int, user: str, password: str = SECRET) -> Connection:
    return Connection(uri=f"mongodb://{user}:{password}@{net.HOST}:{port}/?authSource=admin", database=DATABASE)


def test_users_rights_are_enough_for_the_page(port: int) -> None:
    """Events, filters, direct counts, pipeline and latest events."""
    reads = connection(port, "streamapp_page")
    reader, pipeline = (
        MongoReader(reads, subject=SUBJECT),
        MongoPipeline(reads, topic="user_events", subject=SUBJECT),
    )
    window = time_window.window(time_window.DEFAULT, NOW)

    overview = reader.overview()
    assert overview
    assert (2, 2) == (overview.stored, overview.rolled_up)
    assert 2 == reader.found(window, Filter(), settled_at=NOW).counts.total
    assert 1 == reader.found(window, Filter(browsers=("edge",)), settled_at=NOW).counts.users
    assert 2 == reader.found_directly(window, Filter()).counts.total
    assert 1 == len(pipeline.state().partitions)
    assert pipeline.document(pipeline.latest()[0]["_id"])
    reads.close()


def test_user_cannot_write(port: int) -> None:
    """Its password gives no right to write."""
    client = MongoClient[dict[str, Any]](mongod.uri(port), username="streamapp_page", password=SECRET)

    with client, pytest.raises(OperationFailure, match="not authorized"):
        client[DATABASE]["events"].delete_many({})


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [
        ("nobody", SECRET, "Unauthorized: the user lacks a right .*Give the user the role"),
        (
            "nobody",
            "of-others",
            "AuthenticationFailed: the user or the password is wrong.*_DASHBOARD_MONGO_URI",
        ),
    ],
)
def test_user_without_rights_is_told_why(user: str, password: str, why: str, port: int) -> None:
    """And no password is."""
    reads = connection(port, user, password)

    with pytest.raises(RefusedError, match=why) as caught:
        MongoReader(reads, subject=SUBJECT).overview()

    assert password not in str(caught.value)
    reads.close()
