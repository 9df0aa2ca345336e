"""The HTTP server of /healthz, /readyz and /metrics, which bounds what a client can do to the worker.

    a malformed request   400, and one line at the level INFO without its bytes
    a slow client         its connection is closed `request_seconds` after it was opened or got its last answer
    many connections      beyond `max_connections` the connection that has waited longest is closed
    no token              401 for /metrics, if a token is required
    a foreign host name   421, against DNS rebinding: a web page of another site could read the pages otherwise

Faust's own pages (/, /router, /table) are off.
"""

# It extends Faust's web server and private parts of aiohttp: tests/unit/test_vendor_internals.py.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler
from faust.web.drivers import aiohttp as stock

from streamapp.worker import access

log = logging.getLogger(__name__)

#: Seconds for one request with its answer, and for the pause between two requests of a connection.
REQUEST_SECONDS = 15.0
#: The most open connections.
MAX_CONNECTIONS = 64
#: Seconds in which the rest of a request body is discarded after the answer; the pages read no body.
LINGERING_SECONDS = 1.0

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_HOST = "*"

_REFUSED = "This worker does not answer for this host name. Add the name to STREAMAPP_WEB_ALLOWED_HOSTS.\n"
_NO_TOKEN = "This page needs the token of STREAMAPP_WEB_TOKEN, as the header Authorization: Bearer <token>.\n"  # noqa: S105


def host_of(authority: str) -> str:
    """Return the host of a Host header, in lower case, without port, brackets and final dot."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower().removesuffix(".")


class _Request(web.Request):
    async def _prepare_hook(self, response: Any) -> None:
        await super()._prepare_hook(response)
        response.headers.popall(hdrs.SERVER, None)  # the versions of Python and aiohttp


class _Connection(RequestHandler):
    """One connection; `waiting` are all of them, the one that has waited longest first."""

    def __init__(
        self, *args: Any, waiting: dict[_Connection, None], request_seconds: float, max_connections: int, **values: Any
    ) -> None:
        super().__init__(*args, **values)
        self._waiting, self._max_connections = waiting, max_connections
        self._request_seconds = request_seconds
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close the connection that has waited longest if there are too many."""
        super().connection_made(transport)
        self._wait()
        while len(self._waiting) > self._max_connections:
            next(iter(self._waiting)).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._forget()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection without waiting until the client has read the answer."""
        self._forget()
        transport: Any = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> tuple[Any, bool]:
        """Send the answer; the time for the next request begins."""
        result = await super().finish_response(request, resp, start_time)
        if self._timer:
            self._wait()
        return result

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer without the text of the error, which repeats the bytes of the request."""
        if status >= 500:  # noqa: PLR2004
            return super().handle_error(request, status, exc, message)
        self.log_exception()
        answer = web.Response(status=status, text="The request is malformed.\n")
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **values: Any) -> None:
        """Log a fault of a page with its traceback, and a fault of the request in one line."""
        if self._request_in_progress and args:
            super().log_exception(*args, **values)
        else:
            peer = self.peername[0] if isinstance(self.peername, tuple) else "a client"
            log.info("Refused a malformed HTTP request from %s.", peer)

    def _wait(self) -> None:
        self._forget()
        self._waiting[self] = None
        self._timer = self._loop.call_later(self._request_seconds, self.abort)

    def _forget(self) -> None:
        self._waiting.pop(self, None)
        if self._timer:
            self._timer.cancel()
            self._timer = None


class _Server(web.Server):
    def __init__(self, handler: Any, *, connection: Callable[..., RequestHandler], **values: Any) -> None:
        super().__init__(handler, **values)
        self._connection = connection

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return self._connection(self, loop=self._loop, **self._kwargs)


class BoundedRunner(web.AppRunner):
    """Runs a web application with the bounds of this module.

    Args:
        app: the application.
        allowed_hosts: host names for which it answers, besides those of loopback and the address of the connection;
            `*` means any.
        token: the token that `streamapp.worker.access` requires; None for none.
        request_seconds: see `REQUEST_SECONDS`.
        max_connections: see `MAX_CONNECTIONS`.
    """

    __slots__ = ("_allowed_hosts", "_connection", "_token")

    def __init__(
        self,
        app: web.Application,
        *,
        allowed_hosts: Iterable[str],
        token: str | None = None,
        request_seconds: float = REQUEST_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        super().__init__(app, access_log=None, lingering_time=LINGERING_SECONDS)
        self._allowed_hosts = LOOPBACK | {host.lower() for host in allowed_hosts if host}
        self._token = token
        self._connection = partial(
            _Connection, waiting={}, request_seconds=request_seconds, max_connections=max_connections
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            partial(self._answer, made.request_handler),
            connection=self._connection,
            request_factory=partial(self.app._make_request, _cls=_Request),  # noqa: SLF001 - no public name
            loop=made._loop,  # noqa: SLF001 - likewise
            **made._kwargs,  # noqa: SLF001 - likewise
        )

    async def _answer(self, page: Callable[[Any], Awaitable[web.StreamResponse]], request: Any) -> web.StreamResponse:
        if not self._is_allowed(request):
            return _closing(web.Response(status=421, text=_REFUSED))
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        if access.is_refused(request.path, authorization, self._token):
            return _closing(web.Response(status=401, text=_NO_TOKEN, headers={hdrs.WWW_AUTHENTICATE: "Bearer"}))
        return await page(request)

    def _is_allowed(self, request: web.BaseRequest) -> bool:
        if ANY_HOST in self._allowed_hosts:
            return True
        own = request.protocol.sockname
        allowed = self._allowed_hosts | ({str(own[0])} if isinstance(own, tuple) else set())
        # Clients of HTTP/1.0 may send no host; a browser always does.
        return all(host_of(authority) in allowed for authority in request.headers.getall(hdrs.HOST, []) if authority)


def _closing(answer: web.Response) -> web.Response:
    answer.force_close()
    return answer


class WorkerWeb(stock.Web):
    """Faust's web server with the bounds of this module, and without Faust's own pages."""

    default_blueprints = production_blueprints = debug_blueprints = optional_blueprints = ()

    def __init__(self, app: Any, *, allowed_hosts: Iterable[str], token: str | None, **values: Any) -> None:
        super().__init__(app, **values)
        self._runner = BoundedRunner(self.web_app, allowed_hosts=allowed_hosts, token=token)
