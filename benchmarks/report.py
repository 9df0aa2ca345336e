"""The output of a benchmark: progress to stderr, results to stdout as Markdown."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version

import psutil

from streamapp.connections import mongodb

_SHOWN = ("streamlit", "plotly", "pymongo", "datasketches", "faust-streaming", "aiokafka")

_LOOK_SECONDS = 5.0


def progress(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - what a benchmark is for


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201 - what a benchmark is for


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: text aligned left, numbers aligned right."""
    say("\n".join(lines(head, rows)) + "\n")


def lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]


def machine(mongo_uri: str) -> str:
    """Return the cores and versions that a figure depends on, and how busy the cores are with other work."""
    with mongodb.client(mongo_uri) as client:
        mongod = client.server_info()["version"]
    versions = [f"mongod {mongod}", *(f"{name} {version(name)}" for name in _SHOWN)]
    cores = f"{os.cpu_count()} cores, {psutil.cpu_percent(interval=_LOOK_SECONDS):.0f} % busy"
    return f"{cores}; Python {platform.python_version()}, {', '.join(versions)}."


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]
