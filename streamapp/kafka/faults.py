"""What an error of confluent-kafka means: the codes of librdkafka itself, and those of the broker.

The classes are those of `streamapp.kafka.broker_codes`. Source: rd_kafka_resp_err_t in librdkafka's rdkafka.h.
"""

# The names of librdkafka's own codes begin with an underscore, and are documented.
# ruff: noqa: SLF001

from __future__ import annotations

from confluent_kafka import KafkaError

from streamapp.errors import BrokerAccessRefused, BrokerUnavailable, SettingsError, StreamappError
from streamapp.kafka.broker_codes import (
    ACCESS_CODES,
    CREDENTIALS,
    RECORD_REMEDIES,
    RIGHT_CODES,
    SETTING_CODES,
    USER,
    Fault,
    fault_of_code,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CERTIFICATE = (
    "Correct STREAMAPP_KAFKA_SECURITY_PROTOCOL, the certificate authority or the client's certificate"
    " (STREAMAPP_TLS_CA_FILE, STREAMAPP_KAFKA_SSL_*), or the certificate of Kafka"
)
#: → the remedy.
LOCAL_ACCESS_CODES = {KafkaError._AUTHENTICATION: CREDENTIALS, KafkaError._SSL: _CERTIFICATE}
#: A batch that cannot be read.
UNREADABLE_CODES = frozenset({KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION})
#: The topic, or the partition, does not exist.
MISSING_CODES = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
LOCAL_SETTING_CODES = {
    KafkaError._INVALID_ARG: "STREAMAPP_KAFKA_*",
    KafkaError._UNKNOWN_PROTOCOL: "STREAMAPP_KAFKA_SECURITY_PROTOCOL",
    KafkaError._FS: "the files that STREAMAPP_KAFKA_* and STREAMAPP_TLS_CA_FILE name",
}
LOCAL_DEFECT_NAMES = _names(
    """
    _APPLICATION _ASSIGN_PARTITIONS _CONFLICT _EXISTING_SUBSCRIPTION _FENCED _INCONSISTENT _INVALID_TYPE
    _KEY_DESERIALIZATION _KEY_SERIALIZATION _NOENT _NOT_CONFIGURED _NOT_IMPLEMENTED _READ_ONLY _REVOKE_PARTITIONS
    _UNDERFLOW _VALUE_DESERIALIZATION _VALUE_SERIALIZATION
    """
)
LOCAL_WAITED_OUT_NAMES = _names(
    """
    _ALL_BROKERS_DOWN _ASSIGNMENT_LOST _AUTO_OFFSET_RESET _CRIT_SYS_RESOURCE _DESTROY _DESTROY_BROKER _FAIL _FATAL
    _GAPLESS_GUARANTEE _INTR _INVALID_DIFFERENT_RECORD _IN_PROGRESS _ISR_INSUFF _LOG_TRUNCATION _MAX_POLL_EXCEEDED
    _MSG_TIMED_OUT _NODE_UPDATE _NOOP _NO_OFFSET _OUTDATED _PARTIAL _PARTITION_EOF _PREV_IN_PROGRESS _PURGE_INFLIGHT
    _PURGE_QUEUE _QUEUE_FULL _RESOLVE _RETRY _STATE _TIMED_OUT _TIMED_OUT_QUEUE _TRANSPORT _UNKNOWN_BROKER
    _UNKNOWN_GROUP _UNKNOWN_PARTITION _UNKNOWN_TOPIC _UNSUPPORTED_FEATURE _WAIT_CACHE _WAIT_COORD
    """
)

_FAULTS: dict[int, Fault] = {
    **dict.fromkeys(LOCAL_ACCESS_CODES, Fault.ACCESS),
    **dict.fromkeys(UNREADABLE_CODES, Fault.RECORD),
    **dict.fromkeys(LOCAL_SETTING_CODES, Fault.SETTING),
    **{getattr(KafkaError, name): Fault.DEFECT for name in LOCAL_DEFECT_NAMES},
    **{getattr(KafkaError, name): Fault.WAIT for name in LOCAL_WAITED_OUT_NAMES},
}


def fault_of(error: KafkaError) -> Fault:
    """The fault of an error of confluent-kafka."""
    code = error.code()
    return _FAULTS.get(code, Fault.WAIT) if code < 0 else fault_of_code(code)


def ends_client(error: KafkaError) -> bool:
    """Whether the client that reports an error is of no use any more, and a new one may work.

    For example, a broker that has lost the end of its log no longer knows the sequence of an idempotent producer.
    """
    return error.fatal() or error.code() in {KafkaError._FATAL, KafkaError._STATE}


def right_to_topic(operation: str, topic: str) -> str:
    """The right that a call needs, for `failure`."""
    return f"the right {operation} to the topic {topic}"


def right_to_group(operation: str, group: str) -> str:
    """The right that a call needs, for `failure`."""
    return f"the right {operation} to the consumer group {group} (STREAMAPP_APP_ID)"


def described(error: KafkaError, right: str | None = None) -> str:
    """What is wrong, and the remedy where the table has one.

    Args:
        error: of a call.
        right: that the call needs; None if it is not known.
    """
    found = remedy(error, right)
    return f"{error.str().rstrip('.')}. {found}" if found else error.str()


def remedy(error: KafkaError, right: str | None = None) -> str | None:
    """The remedy where the table has one; arguments as for `described`."""
    code = error.code()
    if setting := SETTING_CODES.get(code) or LOCAL_SETTING_CODES.get(code):
        return f"Correct {setting}"
    if right is not None and code in RIGHT_CODES:
        return f"Give {USER} {right}"
    return ACCESS_CODES.get(code) or LOCAL_ACCESS_CODES.get(code) or RECORD_REMEDIES.get(code)


def failure(bootstrap_servers: str, error: KafkaError, right: str | None = None) -> StreamappError:
    """The exception for a failed call: SettingsError, BrokerAccessRefused or BrokerUnavailable.

    Args:
        bootstrap_servers: addresses of Kafka.
        error: of the call.
        right: that the call needs; None if it is not known.
    """
    where = f"Kafka at {bootstrap_servers} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS)"
    fault = fault_of(error)
    if fault is Fault.ACCESS:
        return BrokerAccessRefused(f"{where} refuses access: {described(error, right)}")
    if fault is Fault.SETTING:
        return SettingsError(f"{where} cannot be used with these settings: {described(error)}")
    return unavailable(bootstrap_servers, error.str(), is_running=is_answer(error))


def unavailable(bootstrap_servers: str, why: str, *, is_running: bool = False) -> BrokerUnavailable:
    """The error for a failed call to Kafka, with the address, its setting and the reason."""
    message = f"Kafka cannot be used at {bootstrap_servers} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS): {why}"
    return BrokerUnavailable(message, is_running=is_running)


def is_answer(error: KafkaError) -> bool:
    """Whether a server is there: it has answered with this error, or librdkafka does not accept its answer."""
    return error.code() > 0 or fault_of(error) is Fault.ACCESS
