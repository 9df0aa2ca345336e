"""What a group has committed, asked of a broker that has just started."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamapp.kafka import topic_reader


class _Starting:
    """A consumer whose broker knows its groups only when asked once more."""

    def __init__(self, code: int) -> None:
        self._errors = [KafkaError(code)]

    def committed(self, wanted: list[TopicPartition], **_: Any) -> list[TopicPartition]:
        if self._errors:
            raise KafkaException(self._errors.pop())
        return wanted


def test_a_broker_that_is_not_yet_the_groups_coordinator_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which passes within seconds."""
    monkeypatch.setattr(topic_reader, "_WAIT", 0.0)
    wanted = [TopicPartition("x", 0)]

    assert wanted == topic_reader._committed(_Starting(KafkaError.NOT_COORDINATOR), wanted)


def test_another_error_is_told_at_once() -> None:
    """It would stay."""
    with pytest.raises(KafkaException):
        topic_reader._committed(_Starting(KafkaError.GROUP_AUTHORIZATION_FAILED), [])
