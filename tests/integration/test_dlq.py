"""Dead letters on a real Kafka, looked at and replayed; no worker runs."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Message
from pydantic import SecretStr
from pymongo.database import Database

from streamapp.commands import dlq, dlq_choice, dlq_replay
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import DeadLetterFilter, State
from streamapp.dlq.replay import Replay
from streamapp.kafka.admin import KafkaAdmin, unavailable
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import DeadLetter, Reason, TopicRecord
from streamapp.settings import Settings
from tests.support import foreign, groups
from tests.support.factories import NOW, TOPIC_ID, a_letter, replayed
from tests.support.workers import environment
from tests.unit.dlq.test_index import a_letter as a_read_letter

#: Nobody listens there.
NOWHERE = "127.0.0.1:1"


def run(settings: Settings, *arguments: str) -> Result:
    """Run `streamapp dlq …` in this process."""
    return CliRunner().invoke(dlq.command, arguments, env=environment(settings), catch_exceptions=False)


def told(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Return what it reports as JSON."""
    done = run(settings, *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def bury(settings: Settings, *letters: DeadLetter, partitions: int = 4) -> None:
    """Deliver dead letters as the worker does, into topics that it makes."""
    limit = asyncio.run(
        KafkaAdmin(settings.kafka_bootstrap_servers).ensure_topics(
            topic=settings.topic, partitions=partitions, dead_letter_topic=settings.dead_letter_topic
        )
    )
    topic = DeadLetterProducer(bootstrap_servers=settings.kafka_bootstrap_servers, topic=settings.dead_letter_topic)
    topic.open(max_message_bytes=limit)
    asyncio.run(topic.send(letters))


def letter_at(settings: Settings, offset: int, **changes: Any) -> DeadLetter:
    """Return a dead letter of the settings' topic."""
    return a_letter(**{"topic": settings.topic, "offset": offset, **changes})


def originals(settings: Settings, expected: int) -> Sequence[Message]:
    """Return what lies in the original topic."""
    return foreign.read_all(settings, settings.topic, expected)


def states(settings: Settings) -> dict[str, str]:
    """Return the state of each dead letter by its place."""
    return {f"{one['partition']}:{one['offset']}": one["state"] for one in told(settings, "list")["shown"]}


def test_dead_letters_are_listed_with_what_became_of_them(settings: Settings, database: Database[Any]) -> None:
    """Stored, failed again, replayed, open; and what is no dead letter is told as foreign."""
    first = [letter_at(settings, offset) for offset in range(4)]
    bury(settings, *first, letter_at(settings, 9, headers=replayed(first[1]), error="a\nb"))
    beside = foreign.ForeignProducer(settings.model_copy(update={"topic": settings.dead_letter_topic}))
    beside.send_all([b"no dead letter"])
    database.events.insert_one({"_id": f"{TOPIC_ID}-0-0"})
    assert 1 == told(settings, "replay", "--limit", "1")["replayed"]

    found = told(settings, "list")
    lines = run(settings, "list")
    (chosen,) = told(settings, "list", "--limit", "1")["shown"]

    expected = {"0:0": "stored", "0:1": "superseded", "0:2": "open", "0:3": "open", "0:4": "in topic"}
    assert expected == states(settings)
    (row,) = found["reasons"]
    assert (5, 2, {"1": 4, "2": 1}) == (row["letters"], row["open"], row["attempts"])
    assert [{"partition": 0, "offset": 5}] == found["foreign"]
    assert (4, "a\nb") == (chosen["offset"], chosen["error"])
    assert "0:4" in lines.stdout
    assert lines.stdout.splitlines()[4].endswith("a b")
    assert "1 foreign" in lines.stderr


def test_letters_are_chosen_by_reason_partition_and_time(settings: Settings) -> None:
    """For `list` as for `replay`."""
    bury(settings, letter_at(settings, 0), letter_at(settings, 1, partition=2), _empty(settings, 2))
    cases = [
        (["--reason", "empty"], 1),
        (["--reason", "empty", "--reason", "undecodable"], 3),
        (["--partition", "2"], 1),
        (["--since", "2020-01-01"], 3),
        (["--until", "2020-01-01T00:00:00Z"], 0),
    ]

    for options, expected in cases:
        assert expected == told(settings, "list", *options)["letters"], options
        assert expected == told(settings, "replay", "--dry-run", *options)["would_replay"], options
    assert [] == originals(settings, 0)


def _empty(settings: Settings, offset: int) -> DeadLetter:
    return letter_at(settings, offset, reason=Reason.EMPTY, value=b"", partition=1)


def test_a_list_without_mongodb_says_what_it_does_not_know(settings: Settings) -> None:
    """A replay insists."""
    bury(settings, letter_at(settings, 0))
    away = settings.model_copy(update={"mongo_uri": SecretStr(f"mongodb://{NOWHERE}")})

    listed, refused = run(away, "list"), run(away, "replay")

    assert (0, 1) == (listed.exit_code, refused.exit_code)
    assert "unknown" in listed.stdout
    assert "STREAMAPP_MONGO_URI" in listed.stderr
    assert "STREAMAPP_MONGO_URI" in refused.stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", "0:0"], ["replay"]], ids=" ".join)
def test_an_absent_kafka_is_named(settings: Settings, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With its setting and the way to a local one."""
    monkeypatch.setattr("streamapp.kafka.topic_reader.TIMEOUT", 1.0)

    done = run(settings.model_copy(update={"kafka_bootstrap_servers": NOWHERE}), *arguments)

    assert done.exit_code == 1
    for words in (NOWHERE, "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "streamapp up"):
        assert words in done.stderr


def test_a_dead_letter_is_shown_to_the_byte(settings: Settings) -> None:
    """By where it lies and by where its record stood."""
    value = bytes(range(256)) * 5
    bury(
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
    assert 7 == int(_header(told(settings, "show", "0:0"), "streamapp.offset"))


def _header(record: dict[str, Any], name: str) -> bytes:
    return next(base64.b64decode(each["value"]) for each in record["headers"] if each["name"] == name)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "0:99"], 1, "nothing lies at 0:99"),
        (["show", "7:0"], 1, "nothing lies at 7:0"),
        (["show", "--origin", "elsewhere-0-0"], 1, "no dead letter of elsewhere-0-0"),
        (["show", "first"], 2, "Example: 0:24"),
        (["show", "--origin", "first"], 2, "Example: user_events-2-118"),
        (["show"], 2, "--origin"),
        (["show", "0:0", "--raw", "--json"], 2, "not both"),
        (["list", "--since", "soon"], 2, "no ISO 8601 time"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_is_said(settings: Settings, arguments: list[str], code: int, words: str) -> None:
    """1 where there is nothing, 2 where the command is wrong."""
    bury(settings, letter_at(settings, 0))

    done = run(settings, *arguments)

    assert code == done.exit_code
    assert words in done.stderr


def test_topics_that_are_not_there_are_said(settings: Settings) -> None:
    """No dead letters is nothing wrong; no topic to replay to is."""
    listed, refused = run(settings, "list"), run(settings, "replay")
    shown = [run(settings, "show", *place) for place in (["0:0"], ["--origin", "any-0-0"])]

    assert (0, 1) == (listed.exit_code, refused.exit_code)
    assert [(1, f"Error: there is no topic {settings.dead_letter_topic}, and so no dead letter.\n")] * 2 == [
        (each.exit_code, each.stderr) for each in shown
    ]
    assert f"there is no topic {settings.dead_letter_topic}, and so no dead letter\n" == listed.stderr
    assert "STREAMAPP_TOPIC" in refused.stderr


def test_a_replay_brings_records_back_as_they_were(settings: Settings) -> None:
    """To their partition, in their order, with key, bytes, headers and coordinates; but of now."""
    began = int(time.time() * 1000)
    places = [(3, 9), (1, 30), (1, 4), (3, 2)]
    bury(
        settings,
        *(
            letter_at(
                settings, offset, partition=p, key=f"k{offset}".encode(), timestamp=NOW, headers=(("t", b"\xff"),)
            )
            for p, offset in places
        ),
        letter_at(settings, 50, partition=1, key=None, value=None),
    )

    assert 5 == told(settings, "replay")["replayed"]

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


def test_a_replay_takes_nothing_twice(settings: Settings) -> None:
    """What was delivered is found in the topic; what comes to the worker by itself is not sent at all."""
    bury(settings, *(letter_at(settings, offset) for offset in range(3)))
    topic_id = asyncio.run(KafkaAdmin(settings.kafka_bootstrap_servers).topic_id_of(settings.topic))
    foreign.ForeignProducer(settings).send_all([b""])
    unread = letter_at(settings, 0)
    bury(settings, DeadLetter(**_fields(unread), origin=unread.origin._replace(topic_id=topic_id)))

    first, second = told(settings, "replay", "--limit", "2"), told(settings, "replay")
    third = told(settings, "replay")

    assert (2, {"in topic": 1, "beyond the limit": 1}) == (first["replayed"], first["skipped"])
    assert (1, {"in topic": 3}) == (second["replayed"], second["skipped"])
    assert (0, {"in topic": 4}) == (third["replayed"], third["skipped"])
    assert 4 == len(originals(settings, 4))


def test_what_fails_again_while_a_replay_looks_is_not_replayed_beside_it(settings: Settings) -> None:
    """The worker commits behind it once the dead letters are read, and before anybody asks what is stored."""
    first = letter_at(settings, 0)
    bury(settings, first)
    assert 1 == told(settings, "replay")["replayed"]

    @contextmanager
    def watch(what: str, _: int) -> Generator[Callable[[int], None]]:
        yield lambda _: None
        if what == "reading dead letters":
            bury(settings, letter_at(settings, 9, headers=replayed(first)))
            groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={0: 1})

    with closing(DeadLetterBrowser(settings, watch=watch)) as box:
        _, (seen,) = dlq_choice.read(box, DeadLetterFilter(), run=True)

    assert State.IN_TOPIC == seen.state
    assert {"0:0": "superseded", "0:1": "open"} == states(settings)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {"record": letter.record, "reason": letter.reason, "error": letter.error, "schema_id": letter.schema_id}


def test_a_replay_leaves_out_another_topics_letters_and_says_so(settings: Settings) -> None:
    """They would become events of ours."""
    bury(settings, letter_at(settings, 0, topic="orders"))

    done = run(settings, "replay")

    assert done.exit_code == 0
    assert "skipped, of another topic  1" in done.stdout
    assert "STREAMAPP_TOPIC" in done.stderr
    assert [] == originals(settings, 0)


def test_a_partition_that_is_no_more_is_replaced(settings: Settings) -> None:
    """By another one, and that is told."""
    bury(settings, letter_at(settings, 0, partition=3), partitions=2)

    done = run(settings, "replay")

    assert done.exit_code == 0, done.stderr
    assert "1 went to another partition" in done.stderr
    assert 1 == len(originals(settings, 1))


def test_a_record_that_is_too_large_is_named_and_holds_nobody_up(settings: Settings) -> None:
    """With the remedy: the topic may have been made smaller since."""
    bury(settings, letter_at(settings, 0, value=b"x" * 9000), letter_at(settings, 1))
    foreign.set_topic_config(settings, settings.topic, "max.message.bytes", "5000")

    done = run(settings, "replay")

    assert done.exit_code == 1
    for words in ("0:0 cannot be replayed", "max.message.bytes", "is 5000", "kafka-configs", settings.topic):
        assert words in done.stderr
    assert [b"\x01broken"] == [each.value() for each in originals(settings, 1)]


class _Failing:
    """A reader that gives once, and then finds Kafka away."""

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
        (lambda _: {"bootstrap_servers": NOWHERE, "timeout_seconds": 1.0}, 3),
        (lambda given: {"letters": _Failing(given["letters"]), "fetched_bytes": 1}, 2),
    ],
    ids=["takes nothing", "gives no more"],
)
def test_a_replay_amidst_which_kafka_goes_away_says_how_far_it_came(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, changes: Callable[[Any], dict[str, Any]], left: int
) -> None:
    """And that it can go on."""
    bury(settings, *(letter_at(settings, offset) for offset in range(3)))
    monkeypatch.setattr(dlq_replay, "Replay", lambda **given: Replay(**given | changes(given)))

    done = run(settings, "replay")

    assert done.exit_code == 1
    assert f"replayed  {3 - left}\n" in done.stdout
    assert f"left      {left}\n" in done.stdout
    for words in ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "goes on from here"):
        assert words in done.stderr


def test_a_letter_that_vanishes_meanwhile_is_told(settings: Settings) -> None:
    """Somebody deletes records by hand."""
    going = Replay(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        letters=_Emptied(),  # pyright: ignore[reportArgumentType]
        topic=settings.topic,
        partitions=4,
        max_message_bytes=1_000_000,
    )
    outcome = going.run([a_read_letter()])

    assert ["it is no longer in gone.dlq"] == [why for _, why in outcome.refused]


class _Emptied:
    topic = "gone.dlq"

    def read(self, *_: int) -> Sequence[Any]:
        return []
