"""What an error of aiokafka means for the worker, with the classes and codes of `streamapp.kafka.broker_codes`.

A code of the broker that concerns a record or the client's use of it is waited out here: consuming has no other remedy.
"""

from __future__ import annotations

from aiokafka import errors

from streamapp.errors import BrokerAccessRefused
from streamapp.kafka.broker_codes import ACCESS_CODES, RIGHT_CODES, SETTING_CODES, USER, Fault, fault_of_code

SASL_FAILED = 58
#: Errors of the client itself, without a code of the broker.
DEFECTS = frozenset(
    {
        errors.IllegalStateError,
        errors.IllegalArgumentError,
        errors.UnrecognizedBrokerVersion,
        errors.IncompatibleBrokerVersion,
        errors.UnsupportedCodecError,
        errors.KafkaConfigurationError,
        errors.NoOffsetForPartitionError,
        errors.RecordTooLargeError,
        errors.ProducerClosed,
        errors.ProducerFenced,
    }
)
ACCESS = frozenset({errors.AuthenticationMethodNotSupported, errors.AuthenticationFailedError})
WAITED_OUT = frozenset(
    {
        errors.KafkaError,  # of the coordination, for any cause
        errors.NoBrokersAvailable,
        errors.NodeNotReadyError,
        errors.KafkaProtocolError,
        errors.CorrelationIdError,
        errors.Cancelled,
        errors.TooManyInFlightRequests,
        errors.StaleMetadata,
        errors.MetadataEmptyBrokerList,
        errors.CommitFailedError,
        errors.KafkaUnavailableError,
        errors.KafkaTimeoutError,
        errors.KafkaConnectionError,
        errors.QuotaViolationError,
    }
)

CLIENT_FAULTS: dict[type[BaseException], Fault] = {
    **dict.fromkeys(DEFECTS, Fault.DEFECT),
    **dict.fromkeys(ACCESS, Fault.ACCESS),
    **dict.fromkeys(WAITED_OUT, Fault.WAIT),
}


def fault_of(exc: BaseException) -> Fault:
    """The fault of an error of aiokafka."""
    if isinstance(exc, errors.BrokerResponseError):
        fault = fault_of_code(exc.errno)
        return fault if fault in {Fault.ACCESS, Fault.SETTING} else Fault.WAIT
    return CLIENT_FAULTS.get(type(exc), Fault.DEFECT)


def access_error(exc: BaseException, right: str | None = None) -> BrokerAccessRefused:
    """The error of a refused access, with the remedy.

    Args:
        exc: the error.
        right: that the call needs, as `the right READ to the topic orders`; None if it is not known.
    """
    code = exc.errno if isinstance(exc, errors.BrokerResponseError) else SASL_FAILED
    remedy = f"Give {USER} {right}" if right is not None and code in RIGHT_CODES else ACCESS_CODES.get(code)
    return BrokerAccessRefused(f"{exc!r}. {remedy}; the worker then continues without a restart.")


def setting_message(exc: errors.BrokerResponseError) -> str:
    """One line with the setting."""
    return f"Kafka refuses a setting of the worker: {exc!r}. Correct {SETTING_CODES[exc.errno]} and start again."


def is_retriable(exc: BaseException) -> bool:
    """Whether a repeated commit may succeed: Kafka is unreachable or refuses it, or the partition is not assigned."""
    return isinstance(exc, TimeoutError | errors.IllegalStateError) or fault_of(exc) is not Fault.DEFECT
