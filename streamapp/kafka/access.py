"""Why Kafka refuses a client: librdkafka reports it beside the calls, which end with a timeout.

The server, the setting, the cause and the remedy are in the message. An operator can correct each of these faults while
the worker waits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.tls_faults import TlsSettings, probe, remedy
from streamapp.errors import BrokerAccessRefused, StreamappError
from streamapp.kafka.broker_codes import USER, Fault
from streamapp.kafka.faults import failure, fault_of, unavailable
from streamapp.kafka.login_probe import requires_login

T = TypeVar("T")

_TLS = TlsSettings(
    ca="STREAMAPP_KAFKA_SSL_CA_FILE or STREAMAPP_TLS_CA_FILE",
    certificate="STREAMAPP_KAFKA_SSL_CERTIFICATE_FILE and STREAMAPP_KAFKA_SSL_KEY_FILE",
    turn_on="STREAMAPP_KAFKA_SECURITY_PROTOCOL=ssl or sasl_ssl",
    turn_off="STREAMAPP_KAFKA_SECURITY_PROTOCOL=plaintext or sasl_plaintext",
    address="STREAMAPP_KAFKA_BOOTSTRAP_SERVERS",
)
_LOGIN_REQUIRED = (
    "the broker requires a login on this port",
    "Set STREAMAPP_KAFKA_SECURITY_PROTOCOL to sasl_ssl or sasl_plaintext, and STREAMAPP_KAFKA_SASL_*",
)
#: Words in the text of librdkafka → cause and remedy. The first that matches counts.
_LOGIN_FAULTS = (
    (
        r"unsupported sasl mechanism",
        "the broker does not offer the mechanism",
        "Set STREAMAPP_KAFKA_SASL_MECHANISM to one that it offers",
    ),
    (
        r"not valid in current SASL state",
        "the broker does not expect a login on this port",
        "Use the port with SASL in STREAMAPP_KAFKA_BOOTSTRAP_SERVERS, or STREAMAPP_KAFKA_SECURITY_PROTOCOL without it",
    ),
    (r"might require SASL authentication", *_LOGIN_REQUIRED),
    (
        r"OAUTHBEARER",
        "there is no token, or the broker does not accept it",
        "Correct STREAMAPP_KAFKA_OAUTH_* (token endpoint, client id, secret, scope)",
    ),
    (
        r"authentication (error|fail)|invalid credentials",
        "the user or the password is wrong",
        "Correct STREAMAPP_KAFKA_SASL_USERNAME and STREAMAPP_KAFKA_SASL_PASSWORD, or the user in Kafka",
    ),
)
#: Seconds between two looks at what was reported.
_STEP_SECONDS = 2.0
_OFFERED = re.compile(r"supported mechanisms: ([A-Z0-9_,-]+)")


class ClientErrors:
    """The errors that one client of librdkafka reports beside its calls; pass `note` to it as `error_cb`."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._login_fault: tuple[str, str] | None = None
        self._is_refused = False

    def note(self, error: KafkaError) -> None:
        """Remember why the client cannot connect."""
        self._login_fault = _login_fault(error) or self._login_fault
        self._is_refused |= self._login_fault is not None or fault_of(error) is Fault.ACCESS

    def forget(self) -> None:
        """The client works."""
        self._login_fault, self._is_refused = None, False

    def call(self, call: Callable[[float], T], client: Any, *, timeout: float) -> T:
        """Make a call with a timeout in seconds; end it early if the client is refused, and no wait helps."""
        give_up_at = time.monotonic() + timeout
        while True:
            left = give_up_at - time.monotonic()
            try:
                return call(min(left, _STEP_SECONDS))
            except KafkaException as exc:
                client.poll(0)  # calls `note` for what was reported meanwhile
                if left <= _STEP_SECONDS or self._is_refused or exc.args[0].code() > 0:
                    raise

    def failure(self, error: KafkaError | None, right: str | None = None) -> StreamappError:
        """The exception for a failed call; None stands for a timeout. Connects once more to find the cause.

        Args:
            error: of the call.
            right: that the call needs; None if it is not known.
        """
        if refusal := self.refusal(error):
            return access_refused(self._connection.servers, *refusal)
        if error is None:
            return unavailable(self._connection.servers, "no answer in time")
        return failure(self._connection.servers, error, right)

    def refusal(self, error: KafkaError | None) -> tuple[str, str] | None:
        """Cause and remedy if login or TLS is what fails; None for any other failure."""
        if error is not None and (fault := _login_fault(error)):
            return fault
        if error is not None and error.code() > 0:
            return None  # a broker answers
        return self._login_fault or self._probed()

    def _probed(self) -> tuple[str, str] | None:
        context = self._connection.tls.context() if self._connection.tls else None
        for server in self._connection.servers.split(","):
            host, _, port = server.strip().rpartition(":")
            with suppress(ValueError):  # of a name that is none
                address = host.strip("[]"), int(port)
                if cause := probe(*address, context):
                    return cause, remedy(cause, _TLS)
                if not self._connection.has_login and requires_login(*address, context):
                    return _LOGIN_REQUIRED
        return None


def access_refused(bootstrap_servers: str, cause: str, remedy: str) -> BrokerAccessRefused:
    """The error for a refused access."""
    return BrokerAccessRefused(
        f"Kafka at {bootstrap_servers} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS) cannot be used: {cause}. {remedy}."
    )


def hidden_topic(topic: str) -> tuple[str, str]:
    """Cause and remedy for a topic that the user may not see."""
    remedy_ = f"Give {USER} the rights DESCRIBE, DESCRIBE_CONFIGS, READ and WRITE to it; create it if it does not exist"
    return f"the topic {topic} does not exist, or the user has no right to it", remedy_


def _login_fault(error: KafkaError) -> tuple[str, str] | None:
    text = error.str()
    for words, cause, remedy_ in _LOGIN_FAULTS:
        if re.search(words, text, re.IGNORECASE):
            offered = _OFFERED.search(text)
            return f"{cause} (it offers {offered[1]})" if offered else cause, remedy_
    return None
