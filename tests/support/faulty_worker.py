"""The worker, with a part of it that can be numbed: what /readyz must notice.

Run as `python -m tests.support.faulty_worker worker …`; the file that NUMB_FILE names says what is to be numb:
    agent    at the next batch, the agent that stores events ends without a word, once and for all
    commit   no commit succeeds while the file says so
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from faust.streams import Stream

from streamapp.transport.consumer import BatchConsumer
from streamapp.worker.app import app

_FILE = Path(os.environ["NUMB_FILE"])
_commit_offsets, _events = BatchConsumer._commit_offsets, Stream.events


def _numb() -> str:
    return _FILE.read_text(encoding="utf-8") if _FILE.exists() else ""


async def _maybe_commit(self: BatchConsumer, *args: Any, **kwargs: Any) -> bool:
    return False if _numb() == "commit" else await _commit_offsets(self, *args, **kwargs)


async def _events_until(self: Stream[Any]) -> AsyncIterator[Any]:
    async for event in _events(self):
        if _numb() == "agent":
            return
        yield event


BatchConsumer._commit_offsets = _maybe_commit
Stream.events = _events_until

if __name__ == "__main__":
    app.main()
