"""Kafka user events, decoded by their Avro writer schema and stored in MongoDB, none lost and none twice."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamapp.worker import app

__all__ = ["__version__", "app"]
__version__ = version("streamapp")


def __getattr__(name: str) -> object:
    # Lazy, so that the dashboard and the pure modules do not pay for Faust; `faust -A streamapp` looks for `app`.
    if name == "app":
        from streamapp.worker import app  # noqa: PLC0415

        return app
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
