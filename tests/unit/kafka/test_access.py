"""Why librdkafka cannot connect: it says so beside the call that fails."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import AccessRefused, BrokerUnavailable
from streamapp.kafka import access
from streamapp.kafka.access import ClientErrors

#: What librdkafka 2 writes, and words of the cause and of the remedy.
TEXTS = {
    "password": (
        "b:9: SASL authentication error: Authentication failed during authentication due to invalid credentials",
        "the user or the password is wrong",
        "STREAMAPP_KAFKA_SASL_PASSWORD",
    ),
    "mechanism": (
        "b:9: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512,OAUTHBEARER (after 3ms)",
        "does not offer the mechanism (it offers SCRAM-SHA-512,OAUTHBEARER)",
        "STREAMAPP_KAFKA_SASL_MECHANISM",
    ),
    "no login expected": (
        "b:9: Broker: Request not valid in current SASL state: broker's supported mechanisms: (n/a)",
        "does not expect a login on this port",
        "STREAMAPP_KAFKA_SECURITY_PROTOCOL",
    ),
    "login required": (
        "b:9: verify that security.protocol is correctly configured, broker might require SASL authentication",
        "requires a login on this port",
        "STREAMAPP_KAFKA_SASL_*",
    ),
    "token": (
        "Failed to acquire SASL OAUTHBEARER token: 401",
        "there is no token",
        "STREAMAPP_KAFKA_OAUTH_",
    ),
}


def errors() -> ClientErrors:
    """Return the errors of a client of a server that does not run."""
    return ClientErrors(KafkaConnection(servers="127.0.0.1:1"))


@pytest.mark.parametrize("fault", TEXTS)
@pytest.mark.parametrize("failed", [KafkaError(KafkaError._TRANSPORT), KafkaError(KafkaError._TIMED_OUT), None])
def test_the_cause_of_a_failed_call_is_what_was_reported_before(fault: str, failed: KafkaError | None) -> None:
    text, cause, remedy = TEXTS[fault]
    found = errors()
    found.note(KafkaError(KafkaError._AUTHENTICATION, text))
    found.note(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    error = found.failure(failed)

    assert isinstance(error, AccessRefused)
    assert cause in str(error)
    assert remedy in str(error)
    assert "127.0.0.1:1 (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS)" in str(error)


def test_the_error_of_the_call_itself_counts_first() -> None:
    found = errors()
    text, cause, _ = TEXTS["mechanism"]

    assert cause in str(found.failure(KafkaError(KafkaError._AUTHENTICATION, text)))


def test_a_client_that_has_worked_since_is_not_refused() -> None:
    found = errors()
    found.note(KafkaError(KafkaError._AUTHENTICATION, TEXTS["password"][0]))
    found.forget()

    for error in (KafkaError(KafkaError._TRANSPORT), None):
        failure = found.failure(error)
        assert isinstance(failure, BrokerUnavailable)
        assert not isinstance(failure, AccessRefused)


class Client:
    """A client whose calls time out; it reports an error meanwhile."""

    def __init__(self, found: ClientErrors, code: int) -> None:
        self.timeouts: list[float] = []
        self._found, self._code = found, code

    def call(self, timeout: float) -> None:
        """Time out."""
        self.timeouts.append(timeout)
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def poll(self, _: float) -> None:
        """Report the error."""
        self._found.note(KafkaError(self._code))


@pytest.mark.parametrize(("code", "calls"), [(KafkaError._SSL, 1), (KafkaError._ALL_BROKERS_DOWN, 3)])
def test_a_call_ends_early_if_no_wait_helps(monkeypatch: pytest.MonkeyPatch, code: int, calls: int) -> None:
    """A refused login is no outage, for which the whole timeout is waited."""
    found = errors()
    client, now = Client(found, code), iter(range(0, 100, 2))
    monkeypatch.setattr(access.time, "monotonic", lambda: float(next(now)))

    with pytest.raises(KafkaException):
        found.call(client.call, client, timeout=7.0)

    assert calls == len(client.timeouts)
    assert max(client.timeouts) <= access._STEP_SECONDS


def test_an_answer_of_a_broker_says_itself_what_is_wrong() -> None:
    """An earlier refusal is over then."""
    found = errors()
    found.note(KafkaError(KafkaError._AUTHENTICATION, TEXTS["password"][0]))

    error = found.failure(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))

    assert "READ to the consumer group" in str(error)
