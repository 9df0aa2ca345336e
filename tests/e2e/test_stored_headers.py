"""Headers of records in documents, from any client, and the commands that read these documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pymongo.database import Database

from streamapp.commands import dlq, explain, rollups, schema, verify
from streamapp.model import event
from streamapp.model.stored_headers import MAX_HEADERS, MAX_VALUE_BYTES
from streamapp.settings import PREFIX, Settings
from tests.support import events, foreign
from tests.support.offsets import committed, end_offsets
from tests.support.until import until
from tests.support.workers import Worker, environment

#: The headers of records, by user, and what documents keep of them.
SENT: dict[str, list[tuple[str, bytes | None]]] = {
    "none": [],
    "others": [("trace", b"1"), ("$set", b"x"), ("kafka", b"x"), ("", b"")],
    "web": [("trace", b"1"), ("client.version", b"2.0"), ("client", b"web")],
    "bytes": [("client", b"\xff\0")],
    "long": [("client", b"x" * 100_000)],
    "null": [("client", None)],
    "many": [("trace", b"")] * MAX_HEADERS + [("client", b"late")],
    "forged": [("client", b"web"), ("streamapp.attempt", b"1"), ("streamapp.offset", b"0")],
    "refused": [("client", b"web")],
}
KEPT: dict[str, dict[str, str] | None] = {
    **dict.fromkeys(SENT),
    "web": {"client": "web", "client%2Eversion": "2.0"},
    "bytes": {"client": "0xff00"},
    "long": {"client": "x" * MAX_VALUE_BYTES + "…"},
    "forged": {"client": "web"},
    "refused": {"client": "web"},
}


@pytest.mark.timeout(900)
def test_headers_of_records_are_stored(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """Those of the setting; all commands treat these documents as others, and `verify` finds a wrong header."""
    settings = settings.model_copy(update={"produce_interval_seconds": 0, "stored_headers": "client,client.version"})
    foreign.make_topic(settings)
    write = foreign.writer(event.schema(1), foreign.register(settings, event.schema(1)))
    database.create_collection("events", validator={"user_id": {"$ne": "refused"}})
    producer = foreign.ForeignProducer(settings)
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        for number, (user, headers) in enumerate(SENT.items()):
            producer.send(write({**events.an_event(number), "user_id": user}), headers=headers)
        producer.flush()
        until(lambda: database.events.estimated_document_count() >= len(SENT) - 1, what="the documents")
        until(lambda: database.dead_letters.count_documents({"reason": "refused-by-store"}), what="the dead letter")
        until(lambda: committed(settings) == end_offsets(settings), what="no lag before the replay")
        database.command("collMod", "events", validator={})
        assert 1 == succeeded(dlq.command, settings, "replay")["replayed"]
        until(lambda: database.events.estimated_document_count() >= len(SENT), what="the replayed event")
        until(lambda: committed(settings) == end_offsets(settings), what="no lag")

        found = {each["user_id"]: each for each in database.events.find()}
        assert KEPT == {user: each["kafka"].get("headers") for user, each in found.items()}
        assert found["refused"]["kafka"]["apart"] is True
        succeeded(schema.command, settings, "migrate")
        succeeded(rollups.command, settings, "rebuild")
        succeeded(verify.command, settings)
        explained = succeeded(explain.command, settings, found["web"]["_id"])
        assert found["web"]["kafka"]["headers"] == explained["document"]["kafka"]["headers"]
        assert ["trace", "client.version", "client"] == [each["name"] for each in explained["record"]["headers"]]
        text = called(explain.command, settings, found["bytes"]["_id"]).stdout
        assert re.search(r"kafka\.headers\.client +0xff00\n", text)
        assert "Headers\n  client  b'\\xff\\x00'\n" in text

        database.events.update_one({"user_id": "web"}, {"$set": {"kafka.headers.client": "ios"}})
        wrong = called(verify.command, settings)
        assert (1, True) == (wrong.exit_code, "kafka differs" in wrong.output), wrong.output
        assert worker.stop() == 0, worker.text


def succeeded(command: click.Command, settings: Settings, *arguments: str) -> Any:
    """Run a command that succeeds; return its report."""
    done = called(command, settings, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def called(command: click.Command, settings: Settings, *arguments: str) -> Result:
    """Run a command in this process."""
    environ = {name: value for name, value in environment(settings).items() if name.startswith(PREFIX)}
    return CliRunner().invoke(command, arguments, env=environ, catch_exceptions=False)
