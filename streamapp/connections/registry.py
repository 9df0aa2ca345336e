"""The connection to the schema registry: credentials, TLS, and several URLs that are tried in turn."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import SecretStr
from schema_registry.client import SchemaRegistryClient
from schema_registry.client.errors import ClientError

from streamapp.connections.tls import TlsFiles
from streamapp.errors import SettingsError
from streamapp.settings import Settings, variable
from streamapp.settings.sources import text_in

#: With these a proxy says that the registry behind it does not answer.
_UNAVAILABLE = frozenset({502, 503, 504})
_REFUSED = frozenset({401, 403})
_MAX_ERROR_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConnection:
    """How to reach one registry.

    Args:
        url: its URL, or several of them, separated by commas.
        auth: credentials; None for none.
        tls: files for https.
    """

    url: str
    auth: httpx.Auth | None = field(default=None, repr=False)
    tls: TlsFiles = field(default_factory=TlsFiles)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the connection of the settings; connects to nothing."""
        return cls(url=settings.schema_registry_url, auth=_auth(settings), tls=TlsFiles.of_registry(settings))

    @property
    def urls(self) -> tuple[str, ...]:
        """All URLs, without a slash at their end."""
        return tuple(url.rstrip("/") for url in self.url.split(","))

    def client(self, timeout: httpx.Timeout) -> SchemaRegistryClient:
        """Return a client of python-schema-registry-client.

        Raises:
            SettingsError: a file of TLS cannot be used.
        """
        return _Client(self.urls, auth=self.auth, verify=self._verify(), timeout=timeout)

    def requests(self, timeout: float) -> Requests:
        """Return a client for requests of one's own; raises SettingsError if a file of TLS cannot be used."""
        return Requests(self.urls, httpx.Client(auth=self.auth, verify=self._verify(), timeout=timeout))

    def _verify(self) -> Any:
        return self.tls.context()


class _Turns:
    """Tries URLs in turn, beginning with the one that answered last."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = urls
        self._first = 0

    def request(self, send: Callable[[str], httpx.Response]) -> httpx.Response:
        """Return the answer of the first URL that answers; raises the error of the last one."""
        first = self._first
        order = [(first + step) % len(self._urls) for step in range(len(self._urls))]
        for index in order[:-1]:
            try:
                answer = send(self._urls[index])
            except httpx.TransportError:
                continue
            if answer.status_code not in _UNAVAILABLE:
                self._first = index
                return answer
        answer = send(self._urls[order[-1]])
        self._first = order[-1]
        return answer


class _Client(SchemaRegistryClient):
    """The library's client with several URLs; each of its calls sends one request."""

    def __init__(self, urls: tuple[str, ...], *, auth: httpx.Auth | None, verify: Any, timeout: httpx.Timeout) -> None:
        super().__init__({"url": urls[0]}, timeout=timeout)
        # The library would send an empty user and password.
        self.client_kwargs["auth"] = auth
        # It heeds a CA only beside a client certificate. And httpx would read all CA certificates for each request,
        # which takes longer than the request itself.
        self.client_kwargs["verify"] = verify
        self._base = urls[0]
        self._turns = _Turns(urls)

    def request(self, url: str, *args: Any, **values: Any) -> httpx.Response:
        """Send a request to the first URL that answers; raises ClientError if access is refused."""
        path = url.removeprefix(self._base)
        answer = self._turns.request(lambda base: super(_Client, self).request(f"{base}{path}", *args, **values))
        # The library would read the body as JSON first, and a proxy in front of the registry sends none.
        if answer.status_code in _REFUSED:
            raise ClientError(answer.text[:_MAX_ERROR_CHARACTERS], http_code=answer.status_code)
        return answer


class Requests:
    """Sends requests by path to the first URL that answers."""

    def __init__(self, urls: tuple[str, ...], client: httpx.Client) -> None:
        self._turns, self._client = _Turns(urls), client

    def request(
        self, method: str, path: str, *, json: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        """Send a request; raises errors of httpx."""
        return self._turns.request(
            lambda base: self._client.request(method, f"{base}{path}", json=json, headers=dict(headers))
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _auth(settings: Settings) -> httpx.Auth | None:
    username, password = settings.schema_registry_username, settings.schema_registry_password
    if username is not None and password is not None:
        # The library would split `user:password` at every colon.
        return httpx.BasicAuth(username, password.get_secret_value())
    if settings.schema_registry_bearer_token is not None:
        return _BearerAuth(settings.schema_registry_bearer_token, settings.schema_registry_bearer_token_file)
    return None


class _BearerAuth(httpx.Auth):
    """Sends a token; one of a file is read again for each request.

    While another program writes the file, it may be missing or empty. Then the request fails as one without an answer,
    which is repeated.
    """

    def __init__(self, token: SecretStr, file: Path | None) -> None:
        self._token, self._file = token, file

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._token.get_secret_value()
        if self._file is not None:
            try:
                token = text_in(self._file, variable("schema_registry_bearer_token_file"))
            except SettingsError as exc:
                raise httpx.RequestError(str(exc), request=request) from None
        request.headers["Authorization"] = f"Bearer {token}"
        yield request
