"""Which errors of librdkafka are waited out, which are a record's, and which end the worker."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from streamapp.errors import AccessRefused, BrokerUnavailable, SettingsError
from streamapp.kafka.broker_codes import ACCESS_CODES, RECORD_CODES, SETTING_CODES, Fault, fault_of_code
from streamapp.kafka.faults import (
    LOCAL_ACCESS_CODES,
    LOCAL_DEFECT_NAMES,
    LOCAL_SETTING_CODES,
    LOCAL_WAITED_OUT_NAMES,
    UNREADABLE_CODES,
    described,
    ends_client,
    failure,
    fault_of,
)

CODES = {
    name: code
    for name in dir(KafkaError)
    if name.lstrip("_").isupper() and isinstance(code := getattr(KafkaError, name), int)
}
LOCAL = {name for name, code in CODES.items() if code < KafkaError.UNKNOWN}
IN_TABLES = {*LOCAL_ACCESS_CODES, *LOCAL_SETTING_CODES, *UNREADABLE_CODES}


def test_every_code_of_the_library_is_in_one_table() -> None:
    """A code that a new version of librdkafka adds must be classed."""
    by_code = {name for name in LOCAL if CODES[name] in IN_TABLES}

    assert LOCAL == by_code | LOCAL_DEFECT_NAMES | LOCAL_WAITED_OUT_NAMES
    assert len(LOCAL) == len(IN_TABLES) + len(LOCAL_DEFECT_NAMES) + len(LOCAL_WAITED_OUT_NAMES)


#: Codes of brokers that are waited out. A code that a new version of librdkafka adds belongs here or into a table.
_WAITED_OUT = """
UNKNOWN NO_ERROR OFFSET_OUT_OF_RANGE INVALID_MSG UNKNOWN_TOPIC_OR_PART LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION
REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH OFFSET_METADATA_TOO_LARGE
NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR NOT_ENOUGH_REPLICAS
NOT_ENOUGH_REPLICAS_AFTER_APPEND INVALID_REQUIRED_ACKS ILLEGAL_GENERATION UNKNOWN_MEMBER_ID REBALANCE_IN_PROGRESS
INVALID_COMMIT_OFFSET_SIZE UNSUPPORTED_VERSION TOPIC_ALREADY_EXISTS NOT_CONTROLLER INVALID_REQUEST
OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER INVALID_PRODUCER_EPOCH INVALID_TXN_STATE
INVALID_PRODUCER_ID_MAPPING INVALID_TRANSACTION_TIMEOUT CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED
SECURITY_DISABLED OPERATION_NOT_ATTEMPTED KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND UNKNOWN_PRODUCER_ID
REASSIGNMENT_IN_PROGRESS INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP GROUP_ID_NOT_FOUND FETCH_SESSION_ID_NOT_FOUND
INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND TOPIC_DELETION_DISABLED FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH
STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE MEMBER_ID_REQUIRED PREFERRED_LEADER_NOT_AVAILABLE GROUP_MAX_SIZE_REACHED
FENCED_INSTANCE_ID ELIGIBLE_LEADERS_NOT_AVAILABLE ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS
GROUP_SUBSCRIBED_TO_TOPIC UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED PRODUCER_FENCED RESOURCE_NOT_FOUND
DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED
PRINCIPAL_DESERIALIZATION_FAILURE UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID
UNSUPPORTED_ASSIGNOR STALE_MEMBER_EPOCH MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE UNKNOWN_CONTROLLER_ID
UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE INVALID_REGISTRATION TRANSACTION_ABORTABLE INVALID_RECORD_STATE
SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH FENCED_STATE_EPOCH INVALID_VOTER_KEY DUPLICATE_VOTER
VOTER_NOT_FOUND INVALID_REGULAR_EXPRESSION REBOOTSTRAP_REQUIRED STREAMS_INVALID_TOPOLOGY
STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED SHARE_SESSION_LIMIT_REACHED
"""
WAITED_OUT_NAMES = frozenset(_WAITED_OUT.split())


def test_every_code_of_the_broker_is_in_one_table() -> None:
    """A code that a new version of librdkafka adds must be classed; until then it is waited out."""
    tables = (ACCESS_CODES, RECORD_CODES, SETTING_CODES)
    waited_out = {CODES[name] for name in WAITED_OUT_NAMES}
    of_broker = {code for code in CODES.values() if code >= KafkaError.UNKNOWN}

    assert of_broker == waited_out.union(*tables)
    assert len(of_broker) == len(waited_out) + sum(map(len, tables))
    assert {*RECORD_CODES} == {CODES[name] for name in RECORD_CODES.values()}
    assert {CODES[name] for name in CODES if "AUTHORIZATION" in name or "SASL" in name} <= {*ACCESS_CODES}
    assert fault_of_code(10_000) is Fault.WAIT


@pytest.mark.parametrize("name", sorted(CODES))
def test_an_error_has_the_class_of_its_table(name: str) -> None:
    error = KafkaError(CODES[name])
    expected = {
        **dict.fromkeys([*LOCAL_ACCESS_CODES, *ACCESS_CODES], Fault.ACCESS),
        **dict.fromkeys([*UNREADABLE_CODES, *RECORD_CODES], Fault.RECORD),
        **dict.fromkeys([*LOCAL_SETTING_CODES, *SETTING_CODES], Fault.SETTING),
        **{CODES[each]: Fault.DEFECT for each in LOCAL_DEFECT_NAMES},
    }

    assert expected.get(error.code(), Fault.WAIT) is fault_of(error)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (KafkaError._TRANSPORT, BrokerUnavailable, "cannot be used at b:9 (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS)"),
        (KafkaError._AUTHENTICATION, AccessRefused, "STREAMAPP_KAFKA_SASL_"),
        (KafkaError._SSL, AccessRefused, "STREAMAPP_TLS_CA_FILE"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, AccessRefused, "READ to the consumer group (STREAMAPP_APP_ID)"),
        (KafkaError.INVALID_GROUP_ID, SettingsError, "Correct STREAMAPP_APP_ID"),
        (KafkaError._INVALID_ARG, SettingsError, "STREAMAPP_KAFKA_"),
    ],
)
def test_a_failed_call_names_the_server_the_setting_and_the_remedy(code: int, kind: type, words: str) -> None:
    error = failure("b:9", KafkaError(code))

    assert isinstance(error, kind)
    assert "b:9" in str(error)
    assert words in str(error)


def test_an_error_without_a_remedy_is_described_by_its_text() -> None:
    error = KafkaError(KafkaError.REQUEST_TIMED_OUT)

    assert error.str() == described(error)


@pytest.mark.parametrize("code", sorted({*RECORD_CODES} - {KafkaError.INVALID_MSG_SIZE}))
def test_a_refused_record_has_its_remedy(code: int) -> None:
    """A setting, or the configuration of the topic."""
    text = described(KafkaError(code))

    assert KafkaError(code).str().rstrip(".") in text
    assert "STREAMAPP_" in text or "of the topic" in text


def test_a_fatal_error_ends_its_client() -> None:
    """An idempotent producer reports every further record as failed."""
    assert ends_client(KafkaError(KafkaError._FATAL))
    assert ends_client(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))
    assert not ends_client(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER))
