"""A consumer group seen from outside: its members, and its offsets. Nothing here joins the group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import StreamappError
from streamapp.kafka.access import ClientErrors
from streamapp.kafka.admin import TIMEOUT, silent_logger
from streamapp.kafka.faults import right_to_group, right_to_topic

T = TypeVar("T")

#: Kafka accepts a commit without a membership only if the group has no members.
_HAS_MEMBERS = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
)


class ConsumerGroup:
    """One group and one topic; all methods raise BrokerUnavailable when Kafka does not answer in time."""

    def __init__(self, connection: KafkaConnection, group: str, topic: str) -> None:
        self._errors = ClientErrors(connection)
        self._group = group
        self._topic = topic
        common = {"reconnect.backoff.max.ms": 1000, "log_level": 0, "error_cb": self._errors.note}
        self._admin = connection.admin(common, logger=silent_logger)
        own = {**common, "group.id": group, "enable.auto.commit": False}
        self._consumer = connection.consumer(own, logger=silent_logger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def members(self) -> Sequence[str]:
        """The members, as "client id at host"; none if the group does not exist."""
        described: Any = self._call(
            lambda: self._admin.describe_consumer_groups([self._group], request_timeout=TIMEOUT)[self._group].result(
                TIMEOUT
            ),
            right_to_group("DESCRIBE", self._group),
        )
        return [f"{each.client_id} at {each.host.lstrip('/')}" for each in described.members]

    def offsets_at(self, partitions: Sequence[int], at: datetime) -> Mapping[int, int | None]:
        """The offset of the first record with this Kafka timestamp or a later one; None if there is none."""
        asked = [TopicPartition(self._topic, each, int(at.timestamp() * 1000)) for each in partitions]
        right = right_to_topic("DESCRIBE", self._topic)
        found = self._call(lambda: self._consumer.offsets_for_times(asked, timeout=TIMEOUT), right)
        if error := next((each.error for each in found if each.error), None):
            raise self._error(error, right)
        return {each.partition: each.offset if each.offset >= 0 else None for each in found}

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets for the group.

        Raises:
            StreamappError: the group has members, also such as have just joined; then nothing is committed.
        """
        tps = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            committed: Any = self._consumer.commit(offsets=tps, asynchronous=False)
        except KafkaException as exc:
            raise self._error(exc.args[0], self._right_to_commit(exc.args[0])) from exc
        if error := next((each.error for each in committed if each.error), None):
            raise self._error(error, self._right_to_commit(error))

    def _right_to_commit(self, error: KafkaError) -> str:
        is_of_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        return right_to_group("READ", self._group) if is_of_group else right_to_topic("READ", self._topic)

    def _error(self, error: KafkaError, right: str) -> StreamappError:
        if error.code() in _HAS_MEMBERS:
            return StreamappError(
                f"The group {self._group} (STREAMAPP_APP_ID) has members, so its offsets cannot be changed. Stop all"
                " workers."
            )
        return self._errors.failure(error, right)

    def _call(self, call: Callable[[], T], right: str) -> T:
        try:
            return call()
        except KafkaException as exc:
            raise self._errors.failure(exc.args[0], right) from exc
        except TimeoutError as exc:
            raise self._errors.failure(None) from exc
