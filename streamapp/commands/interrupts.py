"""SIGINT, SIGTERM and SIGHUP end a block once, and leave its tidying alone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Interrupts:
    """A context manager in which the first signal raises Interrupted, and later ones do nothing.

    So whatever is being stopped meanwhile is stopped to its end; all of that has deadlines.
    """

    def __init__(self) -> None:
        self._react: Callable[[int], None] = self._raise
        self._react_later = self._react
        self._came: list[int] = []

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_to(self, react: Callable[[int], None]) -> None:
        """From now on call `react` with each signal, and raise nothing."""
        self._react = react

    def ignore(self) -> None:
        """From now on do nothing at a signal."""
        self._react = _nothing

    def hold(self) -> None:
        """From now on a signal has no effect until `let_go`."""
        self._react_later, self._react = self._react, self._came.append

    def let_go(self) -> None:
        """A signal has effect again, also one that came meanwhile."""
        self._react = self._react_later
        if self._came:
            self._react(self._came[0])

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._react(number)

    def _raise(self, number: int) -> None:
        self.ignore()
        raise Interrupted(number)


def _nothing(_: int) -> None: ...
