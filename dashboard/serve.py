"""What `streamapp dashboard` serves: the page, and `/readyz`, which tells whether MongoDB answers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Before the imports, which take seconds. `streamapp dashboard` has blocked both signals.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

import streamlit as st
from pymongo.errors import PyMongoError
from starlette.responses import JSONResponse
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


# The second route is for a proxy that keeps the base path: see STREAMAPP_DASHBOARD_BASE_PATH.
app = st.App(HERE / "app.py", routes=[Route("/readyz", readyz), Route("/{base_path:path}/readyz", readyz)])


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal, with Streamlit's flags, and else its variables `STREAMLIT_*`; a signal ends it with 0."""
    with suppress(KeyboardInterrupt):
        cli.main_run.main([str(HERE / "serve.py"), *arguments], prog_name="streamapp dashboard", standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1:])
