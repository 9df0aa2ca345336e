"""What the sink expects of the dead-letter topic; the fake and Kafka pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BrokerUnavailable
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.model.record import DeadLetter, Reason
from streamapp.settings import Settings
from streamapp.sink.ports import DeadLetterPort
from tests.conftest import SettingsFactory
from tests.support import foreign
from tests.support.doubles.ports import FakeDeadLetters
from tests.support.factories import a_letter

#: Reason, offset and value of a dead letter that was delivered.
Delivered = tuple[str, int, bytes | None]


class Subject:
    """The dead-letter topic, a way to read it, and one to make it unreachable."""

    def __init__(
        self,
        letters: DeadLetterPort,
        delivered: Callable[[int], list[Delivered]],
        make_unreachable: Callable[[], None],
    ) -> None:
        self.letters = letters
        self.delivered = delivered
        self.make_unreachable = make_unreachable

    def send(self, *letters: DeadLetter) -> None:
        """Send dead letters."""
        asyncio.run(self.letters.send(letters))


@pytest.fixture(params=["fake", "kafka"])
def subject(request: pytest.FixtureRequest, settings_for: SettingsFactory) -> Iterator[Subject]:
    """Return each in turn."""
    if request.param == "fake":
        fake = FakeDeadLetters()
        yield Subject(
            fake,
            lambda _: [(each.reason, each.origin.offset, each.record.value) for each in fake.sent],
            lambda: setattr(fake, "is_unreachable", True),
        )
        return
    settings = settings_for()
    producer = opened(settings)
    yield Subject(producer, lambda count: read(settings, count), producer.close)
    producer.close()


def opened(settings: Settings) -> DeadLetterProducer:
    """Create a dead-letter topic of one partition, and return its producer."""
    foreign.make_topic(settings, 1)
    admin = KafkaAdmin(KafkaConnection.of(settings))
    limit = asyncio.run(
        admin.ensure_topics(topic=settings.topic, partitions=1, dead_letter_topic=settings.dead_letter_topic)
    )
    producer = DeadLetterProducer(connection=KafkaConnection.of(settings), topic=settings.dead_letter_topic)
    producer.open(max_message_bytes=limit)
    return producer


def read(settings: Settings, count: int) -> list[Delivered]:
    """Return the dead letters of the topic, once it has `count` or more."""
    found: list[Delivered] = []
    for message in foreign.read_all(settings, settings.dead_letter_topic, count):
        headers: dict[str, Any] = dict(message.headers() or ())
        found.append((headers["streamapp.reason"].decode(), int(headers["streamapp.offset"]), message.value()))
    return found


def test_dead_letters_are_delivered_in_the_given_order(subject: Subject) -> None:
    """With reason, place and value, also where there is no value."""
    subject.send(a_letter(offset=1), a_letter(Reason.TOMBSTONE, offset=2, value=None))
    subject.send(a_letter(offset=3))

    expected = [("undecodable", 1, b"\x01broken"), ("tombstone", 2, None), ("undecodable", 3, b"\x01broken")]
    assert expected == subject.delivered(3)


def test_a_repeated_call_delivers_only_what_was_not_delivered(subject: Subject) -> None:
    """The sink repeats a call of which a part failed."""
    first, second = a_letter(offset=1), a_letter(offset=2)
    subject.send(first)

    subject.send(first, second)

    assert [1, 2] == [offset for _, offset, _ in subject.delivered(2)]


def test_an_unreachable_topic_raises(subject: Subject) -> None:
    """The call may be repeated."""
    subject.make_unreachable()

    with pytest.raises(BrokerUnavailable):
        subject.send(a_letter())
