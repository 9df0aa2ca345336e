"""A worker that measures how long its event loop runs no timer.

Run as `python -m tests.support.watched_worker worker …`; the file at the path WATCH_FILE contains the longest time so
far, in seconds of CPU time: the other processes of a busy machine do not count.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from streamapp.worker.app import app

_FILE = Path(os.environ["WATCH_FILE"])
#: The start imports modules and compiles readers.
_FROM_SECONDS = 1.0


@app.task
async def watch() -> None:
    """Measure until the worker ends."""
    await asyncio.sleep(_FROM_SECONDS)
    longest = 0.0
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.001)
        if (taken := time.thread_time() - before) > longest:
            longest = taken
            _write(longest)


def _write(longest: float) -> None:
    _FILE.write_text(f"{longest:.4f}", encoding="utf-8")


if __name__ == "__main__":
    app.main()
