"""Answers that are kept for some seconds: many visitors cost as much as one, and a refresh need not wait for them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from dashboard.model.errors import DashboardError

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

#: Answers that are kept, unless it is said otherwise.
MOST = 64
#: One read in the background at a time: several would slow down every refresh that runs meanwhile.
_WORKERS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")


@dataclass(slots=True)
class _Slot(Generic[Answer]):
    lock: Lock = field(default_factory=Lock)
    #: When the answer was asked for, and the answer.
    answer: tuple[float, Answer] | None = None
    #: Whether it is to be read in the background.
    is_due: bool = False
    #: When the last read in the background failed, and why; None if it did not, or this was reported.
    error: tuple[float, DashboardError] | None = None
    #: When the last read failed, and why; None if it did not.
    failed: tuple[float, DashboardError] | None = None


class Kept(Generic[Key, Answer]):
    """The answers of the last seconds, by what was asked.

    Args:
        fresh_for: for so many seconds an answer is not read again.
        usable_for: for so many seconds an answer is given, while it is read again in the background.
        most: the greatest number of answers that are kept.
        monotonic: the clock.
        start: calls a function in the background.
    """

    def __init__(
        self,
        fresh_for: float,
        usable_for: float = 0,
        *,
        most: int = MOST,
        monotonic: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], object]], object] = _WORKERS.submit,
    ) -> None:
        self._fresh_for = fresh_for
        self._usable_for = usable_for
        self._most = most
        self._monotonic = monotonic
        self._start = start
        self._lock = Lock()
        self._slots: OrderedDict[Key, _Slot[Answer]] = OrderedDict()

    def get(self, key: Key, read: Callable[[], Answer]) -> Answer:
        """Return the answer that is kept, or else what `read` returns.

        Raises:
            DashboardError: the one of `read`, which is kept for its `retry_after_seconds`.
        """
        slot = self._slot(key)
        if (error := slot.error) is not None:
            slot.error = None
            # One that nobody asked for in time says nothing of the present.
            if self._age(error) < self._usable_for:
                raise error[1]
        known = slot.answer
        if known is not None and self._age(known) < self._usable_for:
            if self._age(known) >= self._fresh_for and not slot.is_due:
                slot.is_due = True
                self._start(lambda: self._read_again(slot, read))
            return known[1]
        asked_at = self._monotonic()
        with slot.lock:
            known, failed = slot.answer, slot.failed
            if known is not None and self._age(known) < self._fresh_for:
                return known[1]
            if failed is not None and (failed[0] > asked_at or self._age(failed) < failed[1].retry_after_seconds):
                raise self._again(failed)
            return self._read(slot, read)

    def _again(self, failed: tuple[float, DashboardError]) -> DashboardError:
        """The error for another visitor: a copy, because each raise of the same one would add to its traceback."""
        error = copy(failed[1])
        # Where an answer is made of another one that is kept, both are read again at the same time.
        error.retry_after_seconds = max(0.0, error.retry_after_seconds - self._age(failed))
        return error

    def _age(self, known: tuple[float, object]) -> float:
        return self._monotonic() - known[0]

    def _read(self, slot: _Slot[Answer], read: Callable[[], Answer]) -> Answer:
        at = self._monotonic()
        try:
            answer = read()
        except DashboardError as error:
            # without its traceback, which would keep the frames alive
            slot.failed = self._monotonic(), copy(error)
            raise
        slot.answer, slot.error, slot.failed = (at, answer), None, None
        return answer

    def _read_again(self, slot: _Slot[Answer], read: Callable[[], Answer]) -> None:
        """Read an answer, unless a visitor who could not wait for the background has read it."""
        try:
            with slot.lock:
                if slot.answer is None or self._age(slot.answer) >= self._fresh_for:
                    self._read(slot, read)
        except DashboardError as error:
            slot.error = self._monotonic(), copy(error)
        finally:
            slot.is_due = False

    def _slot(self, key: Key) -> _Slot[Answer]:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._most:
                self._slots.popitem(last=False)
            return slot
