"""The committed offsets of a group, while its broker starts."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamapp.kafka import topic_reader


class _Starting:
    """A consumer whose first request fails."""

    def __init__(self, code: int) -> None:
        self._errors = [KafkaError(code)]

    def committed(self, wanted: list[TopicPartition], **_: Any) -> list[TopicPartition]:
        if self._errors:
            raise KafkaException(self._errors.pop())
        return wanted


def test_a_missing_coordinator_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has just started takes some seconds to become the coordinator."""
    monkeypatch.setattr(topic_reader, "_POLL_SECONDS", 0.0)
    wanted = [TopicPartition("x", 0)]

    assert wanted == topic_reader._committed(_Starting(KafkaError.NOT_COORDINATOR), wanted)


def test_another_error_is_raised_at_once() -> None:
    """A retry does not help."""
    with pytest.raises(KafkaException):
        topic_reader._committed(_Starting(KafkaError.GROUP_AUTHORIZATION_FAILED), [])
