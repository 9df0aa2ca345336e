"""Reads user events from Kafka, decodes them with their writer schema, and stores each event once in MongoDB."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamapp.worker.app import app

__all__ = ["__version__", "app"]
__version__ = version("streamapp-pipeline")

# The registry client imports httpx, and httpx imports its own command line with rich and pygments. Without that module
# a worker starts 0.12 s of CPU time faster (median of 11); httpx itself needs it as little as it needs rich.
sys.modules.setdefault("httpx._main", None)  # pyright: ignore[reportArgumentType]

# PyMongo imports cryptography before pyOpenSSL, and uses neither if pyOpenSSL is not installed. Without this import a
# process takes 9 MiB less memory, and PyMongo a fifth less time to import.
if find_spec("OpenSSL") is None:
    sys.modules.setdefault("pymongo.pyopenssl_context", None)  # pyright: ignore[reportArgumentType]


def __getattr__(name: str) -> object:
    # Lazy, so that the dashboard and the commands do not import Faust; `faust -A streamapp` reads `app`.
    if name == "app":
        from streamapp.worker import memory  # noqa: PLC0415

        memory.relax_gc()  # a twelfth of the time of this import
        from streamapp.worker.app import app  # noqa: PLC0415

        globals()[name] = app  # not again: a second call would exempt garbage from collection for ever
        return app
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
