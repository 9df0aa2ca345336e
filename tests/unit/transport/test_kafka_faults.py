"""Which errors of Kafka are waited out, which end the worker with one line, and which with a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import errors
from confluent_kafka import KafkaError

from streamapp.kafka.broker_codes import ACCESS_CODES, SETTING_CODES, Fault
from streamapp.transport.error_codes import name_error_codes
from streamapp.transport.kafka_faults import ACCESS, DEFECTS, WAITED_OUT, access_error, fault_of


def _all(kind: type[errors.KafkaError]) -> Iterator[type[errors.KafkaError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _all(each)


LIBRARY = {kind for kind in _all(errors.KafkaError) if kind.__module__ == errors.__name__}
BROKER = {kind for kind in LIBRARY if issubclass(kind, errors.BrokerResponseError)}


def test_every_error_of_the_client_is_in_one_table() -> None:
    """An error that a new version of aiokafka adds must be classed."""
    assert LIBRARY - BROKER == DEFECTS | WAITED_OUT | ACCESS
    assert len(LIBRARY - BROKER) == len(DEFECTS) + len(WAITED_OUT) + len(ACCESS)


@pytest.mark.parametrize("kind", sorted(BROKER - {errors.BrokerResponseError}, key=lambda kind: kind.__name__))
def test_every_error_of_the_broker_is_classed(kind: type[errors.BrokerResponseError]) -> None:
    """A code that is in no table is waited out."""
    fault = fault_of(kind())

    assert (fault is Fault.SETTING) is (kind.errno in SETTING_CODES)
    assert (fault is Fault.ACCESS) is (kind.errno in ACCESS_CODES)
    assert fault is not Fault.DEFECT
    assert fault is Fault.ACCESS or "Authorization" not in kind.__name__


def test_every_code_of_the_broker_has_an_error_with_its_number() -> None:
    """aiokafka itself knows the codes up to 72, and 79; the others would all be UnknownError."""
    name_error_codes()
    codes = {code for name, code in vars(KafkaError).items() if name.isupper() and isinstance(code, int) and code > 0}

    assert KafkaError.INVALID_RECORD in codes
    assert codes == {errors.for_code(code).errno for code in codes}
    assert "[Error 87] InvalidRecordError" == str(errors.for_code(87)())
    assert Fault.WAIT is fault_of(errors.for_code(87)())


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.GroupAuthorizationFailedError("g"), "STREAMAPP_APP_ID"),
        (errors.TopicAuthorizationFailedError("t"), "DESCRIBE"),
        (errors.AuthenticationFailedError("no"), "STREAMAPP_KAFKA_SASL_"),
    ],
)
def test_a_refused_access_has_its_remedy(error: errors.KafkaError, remedy: str) -> None:
    assert remedy in str(access_error(error))
