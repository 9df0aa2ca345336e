"""End a block once at SIGINT, SIGTERM or SIGHUP, without interrupting its cleanup."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Interrupts:
    """A context manager in which the first signal raises Interrupted, and later signals have no effect.

    So the cleanup after the first signal always completes; every step of it has a deadline.
    """

    def __init__(self) -> None:
        self._handler: Callable[[int], None] = self._raise
        #: A context manager, usable many times: a signal that arrives in its block takes effect at its end.
        self.deferred = _Deferred(self)

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def pass_to(self, handler: Callable[[int], None]) -> None:
        """From now on, call `handler` with each signal, and raise nothing."""
        self._handler = handler

    def swap(self, handler: Callable[[int], None]) -> Callable[[int], None]:
        """Pass signals to `handler`; return what handled them before."""
        previous, self._handler = self._handler, handler
        return previous

    def ignore(self) -> None:
        """From now on, ignore signals."""
        self._handler = _do_nothing

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._handler(number)

    def _raise(self, number: int) -> None:
        self.ignore()
        raise Interrupted(number)


class _Deferred:
    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._received: list[int] = []
        self._handler: Callable[[int], None] = _do_nothing

    def __enter__(self) -> None:
        self._handler = self._interrupts.swap(self._received.append)

    def __exit__(self, *_: object) -> None:
        self._interrupts.pass_to(self._handler)
        if self._received:
            number = self._received[0]
            self._received.clear()
            self._handler(number)


def _do_nothing(_: int) -> None: ...
