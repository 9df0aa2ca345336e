"""Answers that are kept for some seconds, so that many visitors cost as much as one."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

#: Answers that are kept.
MOST = 64


class Kept(Generic[Key, Answer]):
    """The answers of the last seconds, by what was asked."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = Lock()
        self._answers: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()

    def get(self, key: Key, read: Callable[[], Answer]) -> Answer:
        """Return the answer that is kept, or else what `read` returns; an error is raised, and not kept."""
        kept = self._answers.get(key)
        if kept is not None and self._monotonic() - kept[0] < self._seconds:
            return kept[1]
        answer = read()
        with self._lock:
            self._answers[key] = self._monotonic(), answer
            self._answers.move_to_end(key)
            while len(self._answers) > MOST:
                self._answers.popitem(last=False)
        return answer
