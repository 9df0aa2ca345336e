"""Ask one broker for a topic id, over aiokafka's connections: aiokafka's own metadata requests do not contain it."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from io import BytesIO

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

_METADATA = 3
#: The first version with topic ids: Kafka 2.8.
_VERSION = 10
_UUID_BYTES = 16
_UUID_TEXT_LENGTH = 22
_NO_UUID = bytes(_UUID_BYTES)


class _Uuid(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_UUID_BYTES)


class TopicIdResponse(Response):
    """The start of a metadata response, up to the id of the topic: its partitions are not decoded."""

    API_KEY = _METADATA  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - as in aiokafka
    API_VERSION = _VERSION  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - likewise
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topic_count", UnsignedVarInt32),
        ("error_code", Int16),
        ("name", CompactString("utf-8")),
        ("uuid", _Uuid),
    )

    error_code: int
    uuid: bytes

    @property
    def topic_id(self) -> str | None:
        """The topic id, 22 characters of base64url; None from a broker without topic ids."""
        return None if self.uuid == _NO_UUID else urlsafe_b64encode(self.uuid)[:_UUID_TEXT_LENGTH].decode()


class _TopicIdRequestStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = _METADATA
    API_VERSION = _VERSION
    RESPONSE_TYPE = TopicIdResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("uuid", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIdRequest(Request[_TopicIdRequestStruct]):
    """Asks for the topic id of one topic; a broker before Kafka 2.8 cannot be asked: NotImplementedError."""

    API_KEY = _METADATA

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_TopicIdRequestStruct]) -> _TopicIdRequestStruct:
        """Build the request; it never creates the topic."""
        return request_struct_class(
            topics=[(_NO_UUID, self._topic, {})],
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
            tags={},
        )
