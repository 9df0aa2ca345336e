"""What `streamapp dashboard` serves: the page, and `/readyz`, which tells whether MongoDB answers."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if __name__ == "__main__":
    # Before the imports, which take seconds. `streamapp dashboard` has blocked both signals.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

import streamlit as st
from pymongo.errors import PyMongoError
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from streamlit.web import cli

# Streamlit adds this file's folder to the path, not its parent, which holds the package `dashboard`.
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dashboard.data.connection import Connection  # noqa: E402 - only now can it be found
from dashboard.model.errors import DashboardError  # noqa: E402
from streamapp import settings  # noqa: E402
from streamapp.connections import mongodb  # noqa: E402
from streamapp.errors import SettingsError  # noqa: E402

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

# A probe waits for one second at most.
PING_SECONDS = 0.5


def readyz(_: Request) -> JSONResponse:
    """Tell whether MongoDB answers; the answer holds no address and no user."""
    try:
        _connection().reach(PING_SECONDS)
    except (PyMongoError, SettingsError, DashboardError) as exc:
        return JSONResponse({"ready": False, "mongodb": f"no answer: {type(exc).__name__}"}, status_code=503)
    return JSONResponse({"ready": True, "mongodb": "ok"})


@cache
def _connection() -> Connection:
    known = settings.load()
    return Connection(uri=mongodb.dashboard_uri(known), database=known.mongo_database)


class Styled(BaseHTTPMiddleware):
    """Adds the page's style to Streamlit's HTML: nothing moves later, when the style would arrive as an element."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Answer a request."""
        is_page = "text/html" in request.headers.get("accept", "")
        if is_page:
            # A compressed page could not be changed.
            del MutableHeaders(scope=request.scope)["accept-encoding"]
        answer = await call_next(request)
        if not is_page or not answer.headers.get("content-type", "").startswith("text/html"):
            return answer
        parts: AsyncIterable[bytes] = cast("Any", answer).body_iterator
        body = b"".join([part async for part in parts])
        kept = {name: value for name, value in answer.headers.items() if name not in _OF_THE_FILE}
        return Response(body.replace(b"</head>", _style() + b"</head>", 1), answer.status_code, kept)


#: Headers of Streamlit's own file.
_OF_THE_FILE = {"content-length", "etag", "last-modified"}


@cache
def _style() -> bytes:
    return b"<style>" + (HERE / "views" / "style.css").read_bytes() + b"</style>"


class Compressed(GZipMiddleware):
    """Compresses the scripts, which Streamlit sends as they are: four times as large."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_script = scope["type"] == "http" and scope["path"].endswith((".js", ".css"))
        await (super().__call__ if is_script else self.app)(scope, receive, send)


_MIDDLEWARE = [Middleware(Compressed), Middleware(Styled)]
# The second route is for a proxy that keeps the base path: see STREAMAPP_DASHBOARD_BASE_PATH.
_ROUTES = [Route("/readyz", readyz), Route("/{base_path:path}/readyz", readyz)]
app = st.App(HERE / "app.py", routes=_ROUTES, middleware=_MIDDLEWARE)


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal, with Streamlit's flags, and else its variables `STREAMLIT_*`; a signal ends it with 0."""
    with suppress(KeyboardInterrupt):
        cli.main_run.main([str(HERE / "serve.py"), *arguments], prog_name="streamapp dashboard", standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1:])
