"""Classes for the error codes of brokers that aiokafka does not know.

To aiokafka such a code is an UnknownError, and its number is lost: 87 (INVALID_RECORD) of a record that is sent, or 81
(GROUP_MAX_SIZE_REACHED) of a group that is joined.
"""

from __future__ import annotations

from aiokafka import errors


def name_error_codes() -> None:
    """Give aiokafka a class for each code that librdkafka knows and aiokafka does not."""
    from confluent_kafka import KafkaError  # noqa: PLC0415 - `faust --help` imports this module, and needs no client

    for name, code in vars(KafkaError).items():
        if name.isupper() and isinstance(code, int) and code > 0 and code not in errors.kafka_errors:
            kind = f"{name.title().replace('_', '')}Error"
            description = KafkaError(code).str().removeprefix("Broker: ")
            attributes = {"errno": code, "message": name, "description": description}
            errors.kafka_errors[code] = type(kind, (errors.BrokerResponseError,), attributes)
