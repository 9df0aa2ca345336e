"""What `streamapp dashboard` serves: the page, and beside it `/readyz`, which says whether MongoDB answers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from pymongo.errors import PyMongoError
from starlette.responses import JSONResponse
from starlette.routing import Route

# Streamlit puts this file's folder on the path, not the one above it, where the package `dashboard` lies.
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dashboard.data.connection import Connection  # noqa: E402 - only now can it be found
from dashboard.model.errors import DashboardError  # noqa: E402
from streamapp import settings  # noqa: E402
from streamapp.errors import SettingsError  # noqa: E402

if TYPE_CHECKING:
    from starlette.requests import Request

# Whoever asks waits a second at most.
PING_SECONDS = 0.5


def readyz(_: Request) -> JSONResponse:
    """Whether MongoDB answers; names no address and no user."""
    try:
        _connection().reach(PING_SECONDS)
    except (PyMongoError, SettingsError, DashboardError) as exc:
        return JSONResponse({"ready": False, "mongodb": f"no answer: {type(exc).__name__}"}, status_code=503)
    return JSONResponse({"ready": True, "mongodb": "ok"})


@cache
def _connection() -> Connection:
    known = settings.load()
    return Connection(uri=known.mongo_uri.get_secret_value(), database=known.mongo_database)


app = st.App(HERE / "app.py", routes=[Route("/readyz", readyz)])


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal; both of them are a good end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        app.run(config=options(arguments))


def options(arguments: Sequence[str]) -> Mapping[str, str]:
    """Return Streamlit's options, given as it takes them itself: `--name value …`."""
    return {name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}


if __name__ == "__main__":
    main(sys.argv[1:])
