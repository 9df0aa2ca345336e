"""Merge what arrives while an insert is in flight into the next one.

One insert per tiny batch is what makes latency; one insert at a time is what makes it slow. So: at low rates a
single insert is in flight and the rest waits for it together; full batches go out side by side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from streamapp.decode.document import Document
from streamapp.sink.ports import Outcome

MAX_BATCH_DOCUMENTS = 4_000
MAX_CONCURRENT_INSERTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    documents: Sequence[Document]
    outcome: asyncio.Future[Outcome]


class InsertBatcher:
    """Turns many small inserts into few; each caller learns the outcome of its own documents."""

    def __init__(self, write: Callable[[list[Document]], Awaitable[Outcome]]) -> None:
        self._write = write
        self._waiting: deque[_Waiting] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert `documents`, perhaps together with others'.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        if not documents:
            return Outcome()
        waiting = _Waiting(documents, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        return await waiting.outcome

    def _start(self) -> None:
        while self._waiting and len(self._in_flight) < MAX_CONCURRENT_INSERTS:
            if self._in_flight and sum(len(w.documents) for w in self._waiting) < MAX_BATCH_DOCUMENTS:
                return
            task = asyncio.create_task(self._insert_next())
            self._in_flight.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._start()

    async def _insert_next(self) -> None:
        group = self._next_group()
        if not group:
            return
        try:
            outcome = await self._write([document for waiting in group for document in waiting.documents])
        except Exception as exc:  # noqa: BLE001 - handed to the callers, who know what to do
            _tell(group, exc)
        else:
            _tell(group, outcome)

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].documents) <= MAX_BATCH_DOCUMENTS):
            waiting = self._waiting.popleft()
            if not waiting.outcome.done():  # its caller may have gone
                group.append(waiting)
                size += len(waiting.documents)
        return group


def _tell(group: Sequence[_Waiting], result: Outcome | Exception) -> None:
    start = 0
    for waiting in group:
        if not waiting.outcome.done():
            if isinstance(result, Exception):
                waiting.outcome.set_exception(result)
            else:
                waiting.outcome.set_result(result.part(start, len(waiting.documents)))
        start += len(waiting.documents)
