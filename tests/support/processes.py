"""Processes that a test has started, with their children."""

from __future__ import annotations

import psutil


def with_variable(name: str, value: str) -> list[psutil.Process]:
    """Return the processes that were started with this value of an environment variable."""
    running = psutil.process_iter(["environ"])
    return [process for process in running if (process.info["environ"] or {}).get(name) == value]
