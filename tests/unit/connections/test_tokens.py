"""Tokens for OAUTHBEARER: asked for once, renewed before they expire, never printed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from streamapp.connections import faust_credentials, tokens
from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.tls import TlsFiles
from streamapp.connections.tokens import Token, TokenSource, TokenUnavailable
from tests.support.backends import plain_settings
from tests.support.token_server import TokenServer

SECRET = "of the client/+%:~"


class _Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def source(clock: _Clock, lifetimes: list[float]) -> TokenSource:
    """Return a source of numbered tokens; each has one of the lifetimes, and a negative one means that it fails."""

    def fetch() -> Token:
        lifetime = lifetimes.pop(0)
        if lifetime < 0:
            raise TokenUnavailable("no answer")
        return Token(f"token-{len(lifetimes)}", clock.now + lifetime)

    return TokenSource(fetch, now=clock)


def test_a_token_is_renewed_before_it_expires() -> None:
    """It is used again until 80 % of its lifetime have passed."""
    clock = _Clock()
    tested = source(clock, [100, 100])
    first = tested.token()
    clock.now += 79
    assert first == tested.token()
    clock.now += 2

    assert first != tested.token()


def test_an_outage_of_the_endpoint_is_bridged_while_the_token_is_valid(caplog: pytest.LogCaptureFixture) -> None:
    """The old token is used until it expires; the log says so once."""
    clock = _Clock()
    tested = source(clock, [100, -1, -1, -1, 100])
    first = tested.token()
    clock.now += 90
    assert first == tested.token()
    assert first == tested.token()
    clock.now += 20
    with pytest.raises(TokenUnavailable, match="no answer"):
        tested.token()

    assert first != tested.token()
    assert tested.problem is None
    assert ["no answer"] == [record.message for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def server() -> Generator[TokenServer]:
    """Return a token server."""
    with TokenServer(client_id="a client", client_secret=SECRET, lifetime_seconds=60) as server:
        yield server


def _source_of(server: TokenServer, secret: str = SECRET) -> TokenSource:
    settings = plain_settings(
        kafka_security_protocol="sasl_plaintext",
        kafka_sasl_mechanism="OAUTHBEARER",
        kafka_oauth_token_url=f"{server.url}/token",
        kafka_oauth_client_id="a client",
        kafka_oauth_client_secret=secret,
        kafka_oauth_scope="a b",
        kafka_oauth_extensions="logicalCluster=lkc-1,identityPoolId=pool=2",
    )
    made = KafkaConnection.of(settings).tokens
    assert made
    return made


def test_both_libraries_get_the_same_token(server: TokenServer) -> None:
    """One request serves librdkafka and aiokafka, with the extensions of the settings."""
    connection = KafkaConnection(servers="x:1", protocol="sasl_plaintext", tokens=_source_of(server))
    value, expires_at, principal, extensions = connection.librdkafka()["oauth_cb"]("")
    provider: Any = getattr(faust_credentials.credentials(connection), "oauth_cb", None)
    of_aiokafka = asyncio.run(provider.token())

    assert value == of_aiokafka
    assert "a client" == principal
    assert expires_at > 1_700_000_000
    assert {"logicalCluster": "lkc-1", "identityPoolId": "pool=2"} == extensions == provider.extensions()
    assert [{"grant_type": ["client_credentials"], "scope": ["a b"]}] == server.requests


def test_a_refused_client_is_named_without_its_secret(server: TokenServer) -> None:
    """The answer of the endpoint may repeat the secret, so only its error code is shown."""
    with pytest.raises(TokenUnavailable) as raised:
        _source_of(server, "wrong secret").token()

    assert "401 invalid_client" in str(raised.value)
    assert "STREAMAPP_KAFKA_OAUTH_TOKEN_URL" in str(raised.value)
    assert "wrong secret" not in str(raised.value)
    assert 2 == server.refused  # by header, then by form


def test_aiokafka_connects_again_later_without_a_token() -> None:
    """aiokafka ends the worker at errors that it does not know."""

    def fetch() -> Token:
        raise TokenUnavailable("no answer")

    connection = KafkaConnection(servers="x:1", protocol="sasl_plaintext", tokens=TokenSource(fetch))

    with pytest.raises(KafkaConnectionError, match="no answer"):
        asyncio.run(faust_credentials.credentials(connection).oauth_cb.token())


def test_an_endpoint_that_does_not_answer() -> None:
    """The message names the setting."""
    fetch = tokens.of_endpoint(
        "http://127.0.0.1:1/token", client_id="x", client_secret=SecretStr(SECRET), scope=None, tls=TlsFiles()
    )

    with pytest.raises(TokenUnavailable, match=r"does not answer .STREAMAPP_KAFKA_OAUTH_TOKEN_URL"):
        fetch()


def test_a_token_file_is_read_for_each_connection(tmp_path: Path) -> None:
    """Another program renews it."""
    file = tmp_path / "token"
    tested = TokenSource(tokens.of_file(file), is_cached=False)
    file.write_text("first\n")
    first = tested.token().value
    file.write_text("second\n")

    assert ("first", "second") == (first, tested.token().value)


@pytest.mark.parametrize(("content", "expected"), [(None, "No such file"), ("", "empty"), ("expired", "has expired")])
def test_a_token_file_that_cannot_be_used(
    tmp_path: Path, server: TokenServer, content: str | None, expected: str
) -> None:
    """The message names setting and file, and not the token."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(server.token("x", -5) if content else "")

    with pytest.raises(TokenUnavailable, match=f"STREAMAPP_KAFKA_OAUTH_TOKEN_FILE.*{expected}"):
        tokens.of_file(file)()


def test_a_token_in_place_of_its_file_is_not_printed() -> None:
    """A token has no folder that exists."""
    with pytest.raises(TokenUnavailable, match="the path in it") as raised:
        tokens.of_file(Path("abc.def/ghi"))()

    assert "def" not in str(raised.value)
