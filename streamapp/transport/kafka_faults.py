"""What an error of aiokafka means for the worker.

WAIT      the operation is repeated: Kafka is unreachable, or an operator can correct it while the worker runs, for
example missing rights and a wrong password; so is every code of the broker that is in no table
SETTING   a setting cannot be right: the worker ends with one line
DEFECT    the client was used wrongly: the worker ends with the traceback
"""

from __future__ import annotations

from enum import Enum, auto

from aiokafka import errors


class Fault(Enum):
    """What an error means."""

    WAIT = auto()
    SETTING = auto()
    DEFECT = auto()


#: Missing rights: the names of Kafka's error codes. The connection itself works.
ACCESS_CODES = {
    29: "TopicAuthorizationFailed",
    30: "GroupAuthorizationFailed",
    31: "ClusterAuthorizationFailed",
    53: "TransactionalIdAuthorizationFailed",
    58: "SaslAuthenticationFailed",
    65: "DelegationTokenAuthorizationFailed",
}
#: Code → the settings that can cause it.
SETTING_CODES = {
    17: "STREAMAPP_TOPIC",
    23: "STREAMAPP_APP_ID (a consumer of another kind uses the same group)",
    24: "STREAMAPP_APP_ID",
    26: "STREAMAPP_SESSION_TIMEOUT_SECONDS",
}
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
        errors.AuthenticationMethodNotSupported,
        errors.AuthenticationFailedError,
        errors.KafkaUnavailableError,
        errors.KafkaTimeoutError,
        errors.KafkaConnectionError,
        errors.QuotaViolationError,
    }
)

CLIENT_FAULTS: dict[type[BaseException], Fault] = {
    **dict.fromkeys(DEFECTS, Fault.DEFECT),
    **dict.fromkeys(WAITED_OUT, Fault.WAIT),
}


def fault_of(exc: BaseException) -> Fault:
    """The fault of an error of aiokafka."""
    if isinstance(exc, errors.BrokerResponseError):
        return Fault.SETTING if exc.errno in SETTING_CODES else Fault.WAIT
    return CLIENT_FAULTS.get(type(exc), Fault.DEFECT)


def is_access_error(exc: BaseException) -> bool:
    """Whether Kafka refuses the worker's user."""
    refused = (errors.AuthenticationFailedError, errors.AuthenticationMethodNotSupported)
    return isinstance(exc, refused) or (isinstance(exc, errors.BrokerResponseError) and exc.errno in ACCESS_CODES)


def access_message(exc: BaseException) -> str:
    """One line with the remedy."""
    return (
        f"Kafka refuses access: {exc!r}. Give the worker's user the rights to read the topic and to use the consumer"
        " group (STREAMAPP_APP_ID); the worker then continues without a restart."
    )


def setting_message(exc: errors.BrokerResponseError) -> str:
    """One line with the setting."""
    return f"Kafka refuses a setting of the worker: {exc!r}. Correct {SETTING_CODES[exc.errno]} and start again."


def is_retriable(exc: BaseException) -> bool:
    """Whether a repeated commit may succeed: Kafka is unreachable or refuses it, or the partition is not assigned."""
    return isinstance(exc, TimeoutError | errors.IllegalStateError) or fault_of(exc) is not Fault.DEFECT
