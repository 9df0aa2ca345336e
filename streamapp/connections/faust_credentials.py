"""The connection to Kafka for Faust, which hands it to aiokafka."""

from __future__ import annotations

import asyncio

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.tokens import TokenSource, TokenUnavailable


def credentials(connection: KafkaConnection) -> CredentialsT | None:
    """Return the value of Faust's setting `broker_credentials`; None for plaintext."""
    context = connection.tls.context() if connection.tls else None
    if connection.tokens is not None:
        return OAuthCredentials(oauth_cb=_TokenProvider(connection.tokens), ssl_context=context)
    if connection.login is not None:
        return SASLCredentials(
            username=connection.login.username,
            password=connection.login.password.get_secret_value(),
            mechanism=connection.login.mechanism,
            ssl_context=context,
        )
    # Without a context Faust's SSLCredentials raises.
    return SSLCredentials(context) if context is not None else None


class _TokenProvider(AbstractTokenProvider):
    """What aiokafka asks for a token at each new connection."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    # aiokafka's abstract method has no type.
    async def token(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a token; aiokafka connects again later after the error that it knows."""
        try:
            return (await asyncio.to_thread(self._source.token)).value
        except TokenUnavailable as exc:
            raise KafkaConnectionError(str(exc)) from exc

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions."""
        return self._source.extensions
