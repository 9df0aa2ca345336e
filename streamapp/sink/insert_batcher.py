"""Merge the documents that arrive while an insert is in flight into the next insert.

One insert per small batch costs latency, and one insert at a time costs throughput. So at low rates a single insert is
in flight, and the documents that arrive meanwhile share the next one; full inserts run concurrently.
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
class _Request:
    documents: Sequence[Document]
    outcome: asyncio.Future[Outcome]


class InsertBatcher:
    """Turns many small inserts into few; each caller gets the outcome of its own documents."""

    def __init__(self, write: Callable[[list[Document]], Awaitable[Outcome]]) -> None:
        self._write = write
        self._requests: deque[_Request] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert `documents`, possibly together with those of other callers.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        if not documents:
            return Outcome()
        request = _Request(documents, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._start_inserts()
        return await request.outcome

    def _start_inserts(self) -> None:
        while self._requests and len(self._in_flight) < MAX_CONCURRENT_INSERTS:
            if self._in_flight and sum(len(each.documents) for each in self._requests) < MAX_BATCH_DOCUMENTS:
                return
            task = asyncio.create_task(self._insert_next())
            self._in_flight.add(task)
            task.add_done_callback(self._on_insert_done)

    def _on_insert_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._start_inserts()

    async def _insert_next(self) -> None:
        requests = self._take_requests()
        if not requests:
            return
        try:
            outcome = await self._write([document for request in requests for document in request.documents])
        except Exception as exc:  # noqa: BLE001 - raised again in each caller
            _answer(requests, exc)
        else:
            _answer(requests, outcome)

    def _take_requests(self) -> list[_Request]:
        """Remove and return the requests that fit into one insert, at least one."""
        taken: list[_Request] = []
        size = 0
        while self._requests and (not taken or size + len(self._requests[0].documents) <= MAX_BATCH_DOCUMENTS):
            request = self._requests.popleft()
            if not request.outcome.done():  # else its caller was cancelled
                taken.append(request)
                size += len(request.documents)
        return taken


def _answer(requests: Sequence[_Request], result: Outcome | Exception) -> None:
    start = 0
    for request in requests:
        if not request.outcome.done():
            if isinstance(result, Exception):
                request.outcome.set_exception(result)
            else:
                request.outcome.set_result(result.part(start, len(request.documents)))
        start += len(request.documents)
