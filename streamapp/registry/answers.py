"""What the answers of a schema registry mean: errors that name the setting, and what a refusal comes from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from schema_registry.client.errors import ClientError

from streamapp.errors import RegistryAccessRefused, RegistryUnavailable
from streamapp.registry import access, api_path

T = TypeVar("T")

NOT_FOUND = 404
#: Statuses with which a registry refuses a version that it does not have, or a parameter that it does not know.
_REFUSED = frozenset({400, NOT_FOUND, 410, 422})
#: Error codes of the Confluent API are the HTTP status and two digits, such as 40403.
_STATUS_OF_CODE = 100
_SERVER_ERROR = 500
# Missing rights, timeouts and rate limits: an operator or time can correct them while the worker waits.
_TRANSIENT = frozenset({401, 403, 408, 429})


class ErrorResponse(RegistryUnavailable):
    """The registry answers a request with an HTTP error."""

    def __init__(self, url: str, status: int | None, reason: str) -> None:
        super().__init__(f"{url} answers {status}: {reason}")
        self.is_running = True
        self.status = status
        self.reason = reason

    @property
    def is_transient(self) -> bool:
        """Whether a later attempt can succeed."""
        return self.status is None or self.status in _TRANSIENT or self.status >= _SERVER_ERROR


class RefusedAccess(ErrorResponse, RegistryAccessRefused):
    """The registry refuses the credentials, or a right; the message names the setting."""

    def __init__(self, url: str, status: int, reason: str) -> None:
        super().__init__(url, status, reason)
        cause, remedy = access.REFUSALS[status]
        self.args = (f"{url} (STREAMAPP_SCHEMA_REGISTRY_URL) answers {status}: {cause}. {remedy}",)


class NoConfluentApi(ErrorResponse):
    """A server answers at the URL, but without the Confluent API; the message names the setting to change."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(url, status, "no Confluent API")
        url = url.rstrip("/")
        self.args = (f"{api_path.problem(url, status)}. Set {api_path.remedy(url)}",)


class RefusedError(ClientError):
    """The answer refuses a request, from the registry or from a server in front of it."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.text[:200], http_code=response.status_code)
        self.is_json = False
        #: Whether it has an error code as only registries send.
        self.is_of_registry = False
        with contextlib.suppress(ValueError, TypeError):
            body = response.json()
            self.is_json = isinstance(body, dict)
            code = body.get("error_code") if self.is_json else None
            self.is_of_registry = int(code or 0) // _STATUS_OF_CODE == response.status_code


def content(response: httpx.Response) -> Any:
    """Return the JSON of an answer; raises RefusedError or ClientError if it is an error."""
    if response.status_code in _REFUSED:
        raise RefusedError(response)
    if not response.is_success:
        raise ClientError(response.text[:200], http_code=response.status_code)
    return response.json()


def translated(url: str, call: Callable[[], T]) -> T:
    """Make a call, and raise RegistryUnavailable for every error of httpx and of the library."""
    try:
        return call()
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict, OSError) as exc:
        if refusal := access.tls_refusal(url, str(exc)):
            message = f"{url} (STREAMAPP_SCHEMA_REGISTRY_URL) cannot be used: {refusal[0]}. {refusal[1]}"
            raise RegistryAccessRefused(message) from exc
        message = f"{url} does not answer (STREAMAPP_SCHEMA_REGISTRY_URL): {exc or type(exc).__name__}"
        raise RegistryUnavailable(message) from exc
    except ClientError as exc:
        if exc.http_code == NOT_FOUND and not (isinstance(exc, RefusedError) and exc.is_of_registry):
            raise NoConfluentApi(url, NOT_FOUND) from exc
        if exc.http_code in access.REFUSALS:
            raise RefusedAccess(url, exc.http_code, exc.message) from exc
        raise ErrorResponse(url, exc.http_code, exc.message) from exc
    except (ValueError, LookupError, TypeError, AttributeError) as exc:  # no JSON, or not a registry's JSON
        message = f"{url} does not answer as a schema registry does: {exc}. Set {api_path.remedy(url.rstrip('/'))}"
        raise RegistryUnavailable(message, is_running=True) from exc
