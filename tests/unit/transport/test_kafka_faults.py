"""Which errors of Kafka are waited out, which end the worker with one line, and which with a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import errors

from streamapp.transport.kafka_faults import (
    ACCESS_CODES,
    DEFECTS,
    SETTING_CODES,
    WAITED_OUT,
    Fault,
    fault_of,
    is_access_error,
)


def _all(kind: type[errors.KafkaError]) -> Iterator[type[errors.KafkaError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _all(each)


LIBRARY = {kind for kind in _all(errors.KafkaError) if kind.__module__ == errors.__name__}
BROKER = {kind for kind in LIBRARY if issubclass(kind, errors.BrokerResponseError)}


def test_every_error_of_the_client_is_in_one_table() -> None:
    """An error that a new version of aiokafka adds must be classed."""
    assert LIBRARY - BROKER == DEFECTS | WAITED_OUT
    assert not DEFECTS & WAITED_OUT
    assert not ACCESS_CODES.keys() & SETTING_CODES.keys()


@pytest.mark.parametrize("kind", sorted(BROKER - {errors.BrokerResponseError}, key=lambda kind: kind.__name__))
def test_every_error_of_the_broker_is_classed(kind: type[errors.BrokerResponseError]) -> None:
    """A code that is in no table is waited out."""
    assert (Fault.SETTING if kind.errno in SETTING_CODES else Fault.WAIT) is fault_of(kind())
    assert is_access_error(kind()) is ("Authorization" in kind.__name__ or kind.errno == 58)
