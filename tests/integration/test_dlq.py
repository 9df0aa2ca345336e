"""`streamapp dlq` with real servers; no worker runs."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Message
from pydantic import SecretStr
from pymongo.database import Database

from streamapp.commands import dlq, dlq_filter, dlq_replay
from streamapp.connections.kafka import KafkaConnection
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import DeadLetterFilter, State
from streamapp.dlq.replay import Replay
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.kafka.faults import unavailable
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import DeadLetter, Reason, TopicRecord
from streamapp.settings import Settings
from tests.support import foreign, groups
from tests.support.factories import NOW, TOPIC_ID, a_letter, replayed
from tests.support.workers import environment
from tests.unit.dlq.test_index import a_letter as a_read_letter

#: A port without a listener.
NOWHERE = "127.0.0.1:1"


def run(settings: Settings, *arguments: str) -> Result:
    """Run `streamapp dlq …` in this process."""
    return CliRunner().invoke(dlq.command, arguments, env=environment(settings), catch_exceptions=False)


def report_of(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Run `streamapp dlq … --json`; return its report."""
    done = run(settings, *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def send_dead_letters(settings: Settings, *letters: DeadLetter, partitions: int = 4) -> None:
    """Create both topics, and send dead letters as the worker does."""
    limit = asyncio.run(
        KafkaAdmin(KafkaConnection.of(settings)).ensure_topics(
            topic=settings.topic, partitions=partitions, dead_letter_topic=settings.dead_letter_topic
        )
    )
    topic = DeadLetterProducer(connection=KafkaConnection.of(settings), topic=settings.dead_letter_topic)
    topic.open(max_message_bytes=limit)
    asyncio.run(topic.send(letters))


def letter_at(settings: Settings, offset: int, **changes: Any) -> DeadLetter:
    """Return a dead letter of the settings' topic."""
    return a_letter(**{"topic": settings.topic, "offset": offset, **changes})


def originals(settings: Settings, expected: int) -> Sequence[Message]:
    """Return the records of the original topic."""
    return foreign.read_all(settings, settings.topic, expected)


def states(settings: Settings) -> dict[str, str]:
    """Return the state of each dead letter by partition:offset."""
    return {f"{one['partition']}:{one['offset']}": one["state"] for one in report_of(settings, "list")["shown"]}


def test_dead_letters_are_listed_with_their_states(settings: Settings, database: Database[Any]) -> None:
    """The states are stored, superseded, in topic and open; a record that is no dead letter counts as foreign."""
    first = [letter_at(settings, offset) for offset in range(4)]
    send_dead_letters(settings, *first, letter_at(settings, 9, headers=replayed(first[1]), error="a\nb"))
    beside = foreign.ForeignProducer(settings.model_copy(update={"topic": settings.dead_letter_topic}))
    beside.send_all([b"no dead letter"])
    database.events.insert_one({"_id": f"{TOPIC_ID}-0-0"})
    assert 1 == report_of(settings, "replay", "--limit", "1")["replayed"]

    found = report_of(settings, "list")
    lines = run(settings, "list")
    (chosen,) = report_of(settings, "list", "--limit", "1")["shown"]

    expected = {"0:0": "stored", "0:1": "superseded", "0:2": "open", "0:3": "open", "0:4": "in topic"}
    assert expected == states(settings)
    (row,) = found["reasons"]
    assert (5, 2, {"1": 4, "2": 1}) == (row["letters"], row["open"], row["attempts"])
    assert [{"partition": 0, "offset": 5}] == found["foreign"]
    assert (4, "a\nb") == (chosen["offset"], chosen["error"])
    assert "0:4" in lines.stdout
    assert lines.stdout.splitlines()[4].endswith("a b")
    assert "1 foreign" in lines.stderr


def test_letters_are_filtered_by_reason_partition_and_time(settings: Settings) -> None:
    """`list` and `replay` have the same options."""
    send_dead_letters(settings, letter_at(settings, 0), letter_at(settings, 1, partition=2), _empty(settings, 2))
    cases = [
        (["--reason", "empty"], 1),
        (["--reason", "empty", "--reason", "undecodable"], 3),
        (["--partition", "2"], 1),
        (["--since", "2020-01-01"], 3),
        (["--until", "2020-01-01T00:00:00Z"], 0),
    ]

    for options, expected in cases:
        assert expected == report_of(settings, "list", *options)["letters"], options
        assert expected == report_of(settings, "replay", "--dry-run", *options)["would_replay"], options
    assert [] == originals(settings, 0)


def _empty(settings: Settings, offset: int) -> DeadLetter:
    return letter_at(settings, offset, reason=Reason.EMPTY, value=b"", partition=1)


def test_list_works_without_mongodb(settings: Settings) -> None:
    """The states are unknown then; a replay needs them and fails."""
    send_dead_letters(settings, letter_at(settings, 0))
    unreachable = settings.model_copy(update={"mongo_uri": SecretStr(f"mongodb://{NOWHERE}")})

    listed, refused = run(unreachable, "list"), run(unreachable, "replay")

    assert (0, 1) == (listed.exit_code, refused.exit_code)
    assert "unknown" in listed.stdout
    assert "STREAMAPP_MONGO_URI" in listed.stderr
    assert "STREAMAPP_MONGO_URI" in refused.stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", "0:0"], ["replay"]], ids=" ".join)
def test_an_unreachable_kafka_is_an_error(
    settings: Settings, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the address, the setting, and how to start a local Kafka."""
    monkeypatch.setattr("streamapp.kafka.topic_reader.TIMEOUT", 1.0)

    done = run(settings.model_copy(update={"kafka_bootstrap_servers": NOWHERE}), *arguments)

    assert done.exit_code == 1
    for words in (NOWHERE, "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "streamapp up"):
        assert words in done.stderr


def test_a_dead_letter_is_shown_unchanged(settings: Settings) -> None:
    """It is found by its own and by its original coordinates."""
    value = bytes(range(256)) * 5
    send_dead_letters(
        settings, letter_at(settings, 7, value=value, headers=(("trace", b"\xff"),)), letter_at(settings, 8, value=None)
    )

    shown, raw = run(settings, "show", "0:0"), run(settings, "show", "--origin", f"{settings.topic}-0-7", "--raw")
    nothing = run(settings, "show", "0:1", "--raw")

    assert value == raw.stdout_bytes
    assert (b"", 0) == (nothing.stdout_bytes, nothing.exit_code)
    assert "null" in nothing.stderr
    assert "trace                  b'\\xff'" in shown.stdout
    assert "00000010  10 11 12 13" in shown.stdout
    assert "256 more bytes" in shown.stdout
    assert 7 == int(_header(report_of(settings, "show", "0:0"), "streamapp.offset"))


def _header(record: dict[str, Any], name: str) -> bytes:
    return next(base64.b64decode(each["value"]) for each in record["headers"] if each["name"] == name)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "0:99"], 1, "no record at 0:99"),
        (["show", "7:0"], 1, "no record at 7:0"),
        (["show", "--origin", "elsewhere-0-0"], 1, "no dead letter of elsewhere-0-0"),
        (["show", "first"], 2, "Example: 0:24"),
        (["show", "--origin", "first"], 2, "Example: user_events-2-118"),
        (["show"], 2, "--origin"),
        (["show", "0:0", "--raw", "--json"], 2, "not both"),
        (["list", "--since", "soon"], 2, "not an ISO 8601 time"),
    ],
    ids=str,
)
def test_a_missing_dead_letter_or_a_wrong_argument_is_an_error(
    settings: Settings, arguments: list[str], code: int, words: str
) -> None:
    """The exit code is 1 if there is no such dead letter, 2 if the command is wrong."""
    send_dead_letters(settings, letter_at(settings, 0))

    done = run(settings, *arguments)

    assert code == done.exit_code
    assert words in done.stderr


def test_missing_topics_are_reported(settings: Settings) -> None:
    """A missing dead-letter topic is an empty list; a missing original topic is an error of the replay."""
    listed, refused = run(settings, "list"), run(settings, "replay")
    shown = [run(settings, "show", *place) for place in (["0:0"], ["--origin", "any-0-0"])]

    assert (0, 1) == (listed.exit_code, refused.exit_code)
    assert [(1, f"Error: The topic {settings.dead_letter_topic} does not exist: there are no dead letters.\n")] * 2 == [
        (each.exit_code, each.stderr) for each in shown
    ]
    assert f"The topic {settings.dead_letter_topic} does not exist: there are no dead letters.\n" == listed.stderr
    assert "STREAMAPP_TOPIC" in refused.stderr


def test_a_replay_sends_records_unchanged(settings: Settings) -> None:
    """Partition, order, key, value and headers are the original ones; the timestamp is that of the replay."""
    began = int(time.time() * 1000)
    places = [(3, 9), (1, 30), (1, 4), (3, 2)]
    send_dead_letters(
        settings,
        *(
            letter_at(
                settings, offset, partition=p, key=f"k{offset}".encode(), timestamp=NOW, headers=(("t", b"\xff"),)
            )
            for p, offset in places
        ),
        letter_at(settings, 50, partition=1, key=None, value=None),
    )

    assert 5 == report_of(settings, "replay")["replayed"]

    found = originals(settings, 5)
    by_partition = [(each.partition(), int(dict(each.headers())["streamapp.offset"])) for each in found]
    assert [(1, 4), (1, 30), (1, 50), (3, 2), (3, 9)] == sorted(by_partition)
    assert [4, 30, 50] == [offset for partition, offset in by_partition if partition == 1]
    *_, last = [each for each in found if each.partition() == 1]
    first = next(each for each in found if each.key() == b"k4")
    assert (None, None) == (last.key(), last.value())
    headers = dict(first.headers())
    assert (b"\x01broken", b"\xff", str(NOW).encode()) == (first.value(), headers["t"], headers["streamapp.timestamp"])
    assert (b"1", TOPIC_ID.encode()) == (headers["streamapp.attempt"], headers["streamapp.incarnation"])
    assert first.timestamp()[1] >= began


def test_a_replay_sends_no_record_twice(settings: Settings) -> None:
    """It skips events with a record, replayed or original, that the worker has not read yet."""
    send_dead_letters(settings, *(letter_at(settings, offset) for offset in range(3)))
    topic_id = asyncio.run(KafkaAdmin(KafkaConnection.of(settings)).topic_id_of(settings.topic))
    foreign.ForeignProducer(settings).send_all([b""])
    unread = letter_at(settings, 0)
    send_dead_letters(settings, DeadLetter(**_fields(unread), origin=unread.origin._replace(topic_id=topic_id)))

    first, second = report_of(settings, "replay", "--limit", "2"), report_of(settings, "replay")
    third = report_of(settings, "replay")

    assert (2, {"in topic": 1, "beyond the limit": 1}) == (first["replayed"], first["skipped"])
    assert (1, {"in topic": 3}) == (second["replayed"], second["skipped"])
    assert (0, {"in topic": 4}) == (third["replayed"], third["skipped"])
    assert 4 == len(originals(settings, 4))


def test_an_event_that_fails_again_during_a_replay_is_not_replayed(settings: Settings) -> None:
    """The worker commits after the dead letters are read, and before the states are queried."""
    first = letter_at(settings, 0)
    send_dead_letters(settings, first)
    assert 1 == report_of(settings, "replay")["replayed"]

    @contextmanager
    def progress(what: str, _: int) -> Generator[Callable[[int], None]]:
        yield lambda _: None
        if what == "reading dead letters":
            send_dead_letters(settings, letter_at(settings, 9, headers=replayed(first)))
            groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={0: 1})

    with closing(DeadLetterBrowser(settings, progress=progress)) as box:
        _, (seen,) = dlq_filter.read_letters(box, DeadLetterFilter(), needs_store=True)

    assert State.IN_TOPIC == seen.state
    assert {"0:0": "superseded", "0:1": "open"} == states(settings)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {"record": letter.record, "reason": letter.reason, "error": letter.error, "schema_id": letter.schema_id}


def test_a_replay_skips_letters_of_another_topic(settings: Settings) -> None:
    """They would be stored as user events."""
    send_dead_letters(settings, letter_at(settings, 0, topic="orders"))

    done = run(settings, "replay")

    assert done.exit_code == 0
    assert "skipped, of another topic  1" in done.stdout
    assert "STREAMAPP_TOPIC" in done.stderr
    assert [] == originals(settings, 0)


def test_a_partition_that_no_longer_exists_is_replaced(settings: Settings) -> None:
    """The key chooses another partition, and the report says so."""
    send_dead_letters(settings, letter_at(settings, 0, partition=3), partitions=2)

    done = run(settings, "replay")

    assert done.exit_code == 0, done.stderr
    assert "1 went to another partition" in done.stderr
    assert 1 == len(originals(settings, 1))


def test_a_record_that_is_too_large_is_reported_and_the_others_are_sent(settings: Settings) -> None:
    """max.message.bytes may have been lowered since; the report has the command to raise it."""
    send_dead_letters(settings, letter_at(settings, 0, value=random.Random(1).randbytes(9000)), letter_at(settings, 1))
    foreign.set_topic_config(settings, settings.topic, "max.message.bytes", "5000")

    done = run(settings, "replay")

    assert done.exit_code == 1
    for words in ("0:0 cannot be replayed", "max.message.bytes", "is 5000", "kafka-configs", settings.topic):
        assert words in done.stderr
    assert [b"\x01broken"] == [each.value() for each in originals(settings, 1)]


class _Failing:
    """A reader that fails after the first batch."""

    def __init__(self, reader: TopicReader) -> None:
        self.topic = reader.topic
        self._read = iter([reader.read])

    def read(self, *span: int) -> Iterator[TopicRecord]:
        for read in self._read:
            return read(*span)
        raise unavailable(NOWHERE, "gone")


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        (lambda _: {"connection": KafkaConnection(servers=NOWHERE), "timeout_seconds": 1.0}, 3),
        (lambda given: {"letters": _Failing(given["letters"]), "fetched_bytes": 1}, 2),
    ],
    ids=["producer fails", "reader fails"],
)
def test_a_replay_reports_its_progress_if_kafka_becomes_unreachable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, changes: Callable[[Any], dict[str, Any]], left: int
) -> None:
    """The report says that the same command continues."""
    send_dead_letters(settings, *(letter_at(settings, offset) for offset in range(3)))
    monkeypatch.setattr(dlq_replay, "Replay", lambda **given: Replay(**given | changes(given)))

    done = run(settings, "replay")

    assert done.exit_code == 1
    assert f"replayed  {3 - left}\n" in done.stdout
    assert f"left      {left}\n" in done.stdout
    for words in ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "Run the same command again to continue"):
        assert words in done.stderr


def test_a_letter_that_is_deleted_during_a_replay_is_refused(settings: Settings) -> None:
    """An operator may delete records at the same time."""
    replay = Replay(
        connection=KafkaConnection.of(settings),
        letters=_Emptied(),  # pyright: ignore[reportArgumentType]
        topic=settings.topic,
        partitions=4,
        max_message_bytes=1_000_000,
    )
    outcome = replay.run([a_read_letter()])

    assert ["the topic gone.dlq no longer has it"] == [why for _, why in outcome.refused]


class _Emptied:
    topic = "gone.dlq"

    def read(self, *_: int) -> Sequence[Any]:
        return []
