"""Kafka user events, decoded by their Avro writer schema and stored in MongoDB, none lost and none twice."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamapp.worker.app import app

__all__ = ["__version__", "app"]
__version__ = version("streamapp-pipeline")

# With httpx, which asks the registry, its command line would be imported at each start, and rich and pygments for that.
# It does without where these are not installed.
sys.modules.setdefault("httpx._main", None)  # pyright: ignore[reportArgumentType]


def __getattr__(name: str) -> object:
    # Lazy, so that the dashboard and the pure modules do not pay for Faust; `faust -A streamapp` looks for `app`.
    if name == "app":
        from streamapp.worker.app import app  # noqa: PLC0415

        return app
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
