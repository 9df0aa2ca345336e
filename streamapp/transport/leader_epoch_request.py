"""Ask the leader of partitions where the log of an earlier leader ends, over aiokafka's connections (KIP-320)."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String

_OFFSET_FOR_LEADER_EPOCH = 23
#: The first version that needs only the right DESCRIBE to the topic: Kafka 2.3.
_VERSION = 3
_NO_REPLICA = _ANY_LEADER = -1


class LeaderEpochResponse(Response):
    """For each partition the end offset of the records of an epoch."""

    API_KEY = _OFFSET_FOR_LEADER_EPOCH  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - as in aiokafka
    API_VERSION = _VERSION  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - likewise
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_epoch", Int32),
                        ("end_offset", Int64),
                    ),
                ),
            ),
        ),
    )

    topics: list[tuple[str, list[tuple[int, int, int, int]]]]


class _LeaderEpochRequestStruct(RequestStruct):
    API_KEY = _OFFSET_FOR_LEADER_EPOCH
    API_VERSION = _VERSION
    RESPONSE_TYPE = LeaderEpochResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(("partition", Int32), ("current_leader_epoch", Int32), ("leader_epoch", Int32)),
                ),
            ),
        ),
    )


class LeaderEpochRequest(Request[_LeaderEpochRequestStruct]):
    """Asks for the end of an epoch in each partition; a broker before Kafka 2.3: NotImplementedError.

    Args:
        epochs: the epoch by topic and partition.
    """

    API_KEY = _OFFSET_FOR_LEADER_EPOCH

    def __init__(self, epochs: Mapping[str, Mapping[int, int]]) -> None:
        self._epochs = epochs

    def build(self, request_struct_class: type[_LeaderEpochRequestStruct]) -> _LeaderEpochRequestStruct:
        """Build the request."""
        topics = [
            (topic, [(partition, _ANY_LEADER, epoch) for partition, epoch in epochs.items()])
            for topic, epochs in self._epochs.items()
        ]
        return request_struct_class(replica_id=_NO_REPLICA, topics=topics)
