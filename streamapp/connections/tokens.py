"""Tokens for OAUTHBEARER: one source for aiokafka and librdkafka, which renews a token before it expires."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from streamapp.connections.tls import TlsFiles
from streamapp.errors import BrokerUnavailable
from streamapp.settings.sources import printable

log = logging.getLogger(__name__)

#: A token is renewed after this part of its lifetime.
RENEW_AFTER = 0.8
#: Seconds of validity of a token that says nothing about it.
DEFAULT_LIFETIME_SECONDS = 300.0
#: Seconds for one request to the token endpoint.
REQUEST_SECONDS = 10.0
#: Error codes of RFC 6749, section 5.2, with which a token endpoint may refuse one way of authentication.
_WAY_REFUSED = frozenset({400, 401})


class Token(NamedTuple):
    """A token, and when it expires (seconds since the epoch)."""

    value: str
    expires_at: float
    #: The user that it is for; empty if it is not known.
    principal: str = ""


class TokenUnavailable(BrokerUnavailable):
    """There is no valid token: Kafka cannot be used until there is one."""


class TokenSource:
    """Gives a valid token; safe to use in threads.

    Args:
        fetch: gets a new token; raises TokenUnavailable.
        extensions: SASL extensions (RFC 7628) that go with it.
        is_cached: whether a token is used again until it has to be renewed.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        fetch: Callable[[], Token],
        *,
        extensions: Mapping[str, str] | None = None,
        is_cached: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.extensions = dict(extensions or {})
        #: Why the last token could not be had; None if it could.
        self.problem: str | None = None
        self._fetch, self._is_cached, self._now = fetch, is_cached, now
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renew_at = 0.0

    def token(self) -> Token:
        """Return a token that has not expired.

        Raises:
            TokenUnavailable: there is none.
        """
        with self._lock:
            if self._token is None or not self._is_cached or self._now() >= self._renew_at:
                self._renew()
            if self._token is None:
                raise TokenUnavailable(self.problem or "there is no token")
            return self._token

    def _renew(self) -> None:
        began = self._now()
        try:
            self._token = self._fetch()
        except TokenUnavailable as exc:
            if self.problem is None:
                log.warning("%s", exc)
            self.problem = str(exc)
            if self._token is not None and self._token.expires_at <= began:
                self._token = None
        else:
            self.problem = None
            self._renew_at = began + (self._token.expires_at - began) * RENEW_AFTER


def of_endpoint(
    url: str, *, client_id: str, client_secret: SecretStr, scope: str | None, tls: TlsFiles
) -> Callable[[], Token]:
    """Return a function that gets a token by the grant client_credentials (RFC 6749, section 4.4)."""
    secret = client_secret.get_secret_value()
    form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
    context = tls.context() if url.startswith("https:") else False

    def ask(client: httpx.Client) -> httpx.Response:
        # Section 2.3.1: the header first, which every server has to support; some accept the form only.
        answer = client.post(url, data=form, auth=httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe="")))
        if answer.status_code in _WAY_REFUSED:
            answer = client.post(url, data={**form, "client_id": client_id, "client_secret": secret}, auth=_no_auth)
        return answer

    def fetch() -> Token:
        now = time.time()
        try:
            with httpx.Client(verify=context, timeout=REQUEST_SECONDS) as client:
                return _token_in(ask(client), url, now)
        except (httpx.HTTPError, OSError) as exc:
            why = str(exc) or type(exc).__name__
            raise TokenUnavailable(f"{url} does not answer (STREAMAPP_KAFKA_OAUTH_TOKEN_URL): {why}") from None

    return fetch


def of_file(file: Path) -> Callable[[], Token]:
    """Return a function that reads a token from a file."""

    def fetch() -> Token:
        now = time.time()
        try:
            value = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not a text in UTF-8"
            message = f"{printable(file)} cannot be read (STREAMAPP_KAFKA_OAUTH_TOKEN_FILE): {why}"
            raise TokenUnavailable(message) from None
        token = _with_claims(value, now + DEFAULT_LIFETIME_SECONDS)
        if not value or token.expires_at <= now:
            why = "its token has expired" if value else "it is empty"
            raise TokenUnavailable(f"{file} cannot be used (STREAMAPP_KAFKA_OAUTH_TOKEN_FILE): {why}")
        return token

    return fetch


def _no_auth(request: httpx.Request) -> httpx.Request:
    return request


def _token_in(answer: httpx.Response, url: str, now: float) -> Token:
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    if not answer.is_success or not isinstance(body.get("access_token"), str):
        # The other fields of the answer may repeat what was sent.
        why = body.get("error", "no access_token")
        raise TokenUnavailable(
            f"{url} gives no token: {answer.status_code} {why}. Check STREAMAPP_KAFKA_OAUTH_TOKEN_URL, _CLIENT_ID,"
            " _CLIENT_SECRET and _SCOPE"
        )
    try:
        lifetime = float(body.get("expires_in", DEFAULT_LIFETIME_SECONDS))
    except (TypeError, ValueError):
        lifetime = DEFAULT_LIFETIME_SECONDS
    return _with_claims(body["access_token"], now + lifetime)


def _with_claims(value: str, expires_at: float) -> Token:
    """The token with expiry and user as a JWT (RFC 7519) says them; an opaque token says nothing."""
    try:
        payload = value.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return Token(value, float(claims.get("exp", expires_at)), str(claims.get("sub", "")))
    except (IndexError, ValueError, TypeError, AttributeError):
        return Token(value, expires_at)
