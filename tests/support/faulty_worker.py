"""A worker with a fault that a test switches on, and that /readyz must detect.

Run as `python -m tests.support.faulty_worker worker …`; the file at the path FAULT_FILE contains the fault:
    agent    at the next batch, the agent that stores events returns, without an error
    crash    at the next batch, the agent that stores events raises an error
    commit   every commit fails while the file has this content
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from faust.streams import Stream

from streamapp.transport.consumer import BatchConsumer
from streamapp.worker.app import app

_FILE = Path(os.environ["FAULT_FILE"])
_commit_offsets, _events = BatchConsumer._commit_offsets, Stream.events


def _fault() -> str:
    return _FILE.read_text(encoding="utf-8") if _FILE.exists() else ""


async def _maybe_commit(self: BatchConsumer, *args: Any, **kwargs: Any) -> bool:
    return False if _fault() == "commit" else await _commit_offsets(self, *args, **kwargs)


async def _events_until(self: Stream[Any]) -> AsyncIterator[Any]:
    async for event in _events(self):
        if _fault() == "agent":
            return
        if _fault() == "crash":
            raise RuntimeError("injected fault")
        yield event


BatchConsumer._commit_offsets = _maybe_commit
Stream.events = _events_until

if __name__ == "__main__":
    app.main()
