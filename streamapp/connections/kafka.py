"""The connection to Kafka for librdkafka: its administration, readers and producers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from streamapp.connections import msk, tokens
from streamapp.connections.tls import TlsFiles
from streamapp.connections.tokens import Token, TokenSource
from streamapp.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """User and password for PLAIN and SCRAM."""

    mechanism: str
    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """How to reach one cluster, and what its brokers allow.

    Args:
        servers: addresses as host:port, separated by commas.
        protocol: as in the settings.
        tls: None for a connection without TLS.
        login: for PLAIN and SCRAM.
        tokens: for OAUTHBEARER and AWS_MSK_IAM.
        compression: of all records that are sent; None means what the producer prefers.
        is_idempotent: whether producers are idempotent.
        creates_topics: whether missing topics are created.
    """

    servers: str
    protocol: str = "plaintext"
    tls: TlsFiles | None = None
    login: Login | None = None
    tokens: TokenSource | None = field(default=None, repr=False)
    compression: str | None = None
    is_idempotent: bool = True
    creates_topics: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the connection of the settings; connects to nothing.

        Raises:
            SettingsError: a file cannot be used, or a package is missing.
        """
        protocol = settings.kafka_security_protocol
        tls = TlsFiles.of_kafka(settings) if protocol.endswith("ssl") else None
        if tls is not None:
            tls.context()  # an error in a file has the setting's name here, and not in librdkafka
        has_sasl = protocol.startswith("sasl_")
        return cls(
            servers=settings.kafka_bootstrap_servers,
            protocol=protocol,
            tls=tls,
            login=_login(settings) if has_sasl else None,
            tokens=_tokens(settings) if has_sasl else None,
            compression=settings.kafka_compression,
            is_idempotent=settings.kafka_idempotence,
            creates_topics=settings.create_topics,
        )

    @property
    def is_secured(self) -> bool:
        """Whether Kafka's own tools need a file of properties."""
        return self.protocol != "plaintext"

    @property
    def has_login(self) -> bool:
        """Whether clients log in with SASL."""
        return self.protocol.startswith("sasl_")

    def admin(self, config: Mapping[str, Any] | None = None, **options: Any) -> AdminClient:
        """Return a client for administration; with tokens, its methods raise TokenUnavailable while there is none."""

        def create() -> AdminClient:
            self._require_token()
            return AdminClient({**self.librdkafka(), **(config or {})}, **options)

        # A client that is created while there is no token waits 10 s for one, and fails.
        return create() if self.tokens is None else cast("AdminClient", _AtFirstUse(create))

    def consumer(self, config: Mapping[str, Any], **options: Any) -> Consumer:
        """Return a consumer; raises TokenUnavailable if there is no token."""
        self._require_token()
        return Consumer({**self.librdkafka(), **config}, **options)

    def producer(self, config: Mapping[str, Any], *, compression: str, **options: Any) -> Producer:
        """Return a producer with acks=all; it uses `compression` unless the settings name another one.

        Raises:
            TokenUnavailable: there is no token.
        """
        self._require_token()
        ours = {
            "acks": "all",
            "enable.idempotence": self.is_idempotent,
            "compression.type": self.compression or compression,
        }
        return _Producer({**self.librdkafka(), **ours, **config}, **options)

    def librdkafka(self) -> dict[str, Any]:
        """Return the properties of librdkafka, with secrets."""
        config: dict[str, Any] = {"bootstrap.servers": self.servers}
        if self.is_secured:
            config["security.protocol"] = self.protocol
        if self.tls is not None:
            config |= self.tls.librdkafka()
        if self.login is not None:
            config["sasl.mechanism"] = self.login.mechanism
            config["sasl.username"] = self.login.username
            config["sasl.password"] = self.login.password.get_secret_value()
        if self.tokens is not None:
            config["sasl.mechanism"] = "OAUTHBEARER"
            config["oauth_cb"] = _OauthCallback(self.tokens)
        return config

    def _require_token(self) -> None:
        if self.tokens is not None:
            self.tokens.token()


class _Producer(Producer):
    """A producer that keeps its fatal error, and does not raise it.

    confluent-kafka raises a fatal error once, out of the call in which librdkafka reports it: as KafkaException, or as
    SystemError caused by it. The records fail then with an error that does not name the cause; see `cause_of`.
    """

    fatal_error: KafkaError | None = None

    def poll(self, timeout: float = -1) -> int:
        return self._without_fatal_error(super().poll, timeout)

    def flush(self, timeout: float = -1) -> int:
        return self._without_fatal_error(super().flush, timeout)

    def _without_fatal_error(self, call: Callable[[float], int], timeout: float) -> int:
        try:
            return call(timeout)
        except (KafkaException, SystemError) as exc:
            fatal = exc.__cause__ if isinstance(exc, SystemError) else exc
            if not isinstance(fatal, KafkaException):
                raise
            self.fatal_error = fatal.args[0]
            return call(timeout)


def cause_of(error: KafkaError, producer: Producer) -> KafkaError:
    """The fatal error of the producer if it has one, because all records fail then; otherwise the error of a record."""
    return getattr(producer, "fatal_error", None) or error


class _AtFirstUse:
    """A client that is created when the first of its methods is used."""

    def __init__(self, create: Callable[[], object]) -> None:
        self._create = create
        self._lock = threading.Lock()
        self._client: object = None

    def __getattr__(self, name: str) -> object:
        with self._lock:
            self._client = self._client or self._create()
        return getattr(self._client, name)


class _OauthCallback:
    """What librdkafka calls when it needs a token; it calls again later if this raises."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __call__(self, _: str) -> tuple[str, float, str, Mapping[str, str]]:
        token: Token = self._source.token()
        return token.value, token.expires_at, token.principal, self._source.extensions


def _login(settings: Settings) -> Login | None:
    mechanism, username, password = (
        settings.kafka_sasl_mechanism,
        settings.kafka_sasl_username,
        settings.kafka_sasl_password,
    )
    if mechanism in {None, "OAUTHBEARER", "AWS_MSK_IAM"} or username is None or password is None:
        return None
    return Login(mechanism=str(mechanism), username=username, password=password)


def _tokens(settings: Settings) -> TokenSource | None:
    if settings.kafka_sasl_mechanism == "AWS_MSK_IAM":
        return TokenSource(msk.of_aws(settings.kafka_bootstrap_servers))
    if settings.kafka_sasl_mechanism != "OAUTHBEARER":
        return None
    extensions = dict(pair.split("=", 1) for pair in (settings.kafka_oauth_extensions or "").split(",") if pair)
    if (file := settings.kafka_oauth_token_file) is not None:
        return TokenSource(tokens.of_file(file), extensions=extensions, is_cached=False)
    fetch = tokens.of_endpoint(
        str(settings.kafka_oauth_token_url),
        client_id=settings.kafka_oauth_client_id or "",
        client_secret=settings.kafka_oauth_client_secret or SecretStr(""),
        scope=settings.kafka_oauth_scope,
        tls=TlsFiles(ca_file=settings.tls_ca_file),
    )
    return TokenSource(fetch, extensions=extensions)
