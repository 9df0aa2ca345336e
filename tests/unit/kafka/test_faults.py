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


def test_every_code_of_the_broker_is_in_one_table_at_most() -> None:
    """A code that is in no table is waited out."""
    tables = (ACCESS_CODES, RECORD_CODES, SETTING_CODES)

    assert len({code for table in tables for code in table}) == sum(map(len, tables))
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


def test_a_fatal_error_ends_its_client() -> None:
    """An idempotent producer reports every further record as failed."""
    assert ends_client(KafkaError(KafkaError._FATAL))
    assert ends_client(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))
    assert not ends_client(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER))
