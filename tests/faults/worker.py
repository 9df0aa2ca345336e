"""A worker that hurts itself when it is told to: it gets a signal at a step of a batch, or its clock jumps.

Without the files that FAULT_TRAP and FAULT_CLOCK name it is an ordinary worker. The trap's file holds a line,
`<step> <moment> <nth call> <signal>`, and is gone once it has sprung.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from streamapp.__main__ import main
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.registry.client import Registry
from streamapp.transport.transport import BatchConsumer

#: In the order in which a batch comes to them.
STEPS: dict[str, tuple[type, str]] = {
    "schemas": (Registry, "resolve"),
    "insert": (EventStore, "insert"),
    "apart": (OutOfOrderStore, "insert"),
    "send": (DeadLetterProducer, "send"),
    "count": (EventStore, "count_dead_letters"),
    "rollups": (RollupStore, "write_if_unchanged"),
    "ack": (BatchConsumer, "ack"),
    "commit": (BatchConsumer, "_commit_offsets"),
}
MOMENTS = ("before", "during", "after")
#: Somewhere within a call to a server on the same machine.
DURING_SECONDS = 0.002


class Set(NamedTuple):
    """A trap that is set."""

    step: str
    moment: str
    nth: int
    signal: str


class Trap:
    """Counts the calls of the step that its file names, and springs at one of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._calls = 0

    def around(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the step, with the trap in its way."""

        @wraps(call)
        async def waiting(*args: Any, **values: Any) -> Any:
            self._spring(step, "before", "during")
            result = await call(*args, **values)
            self._spring(step, "after")
            return result

        @wraps(call)
        def plain(*args: Any, **values: Any) -> Any:
            self._spring(step, "before", "during")
            result = call(*args, **values)
            self._spring(step, "after")
            return result

        return waiting if inspect.iscoroutinefunction(call) else plain

    def _spring(self, step: str, *moments: str) -> None:
        found = self._read()
        if found is None or found.step != step or found.moment not in moments:
            return
        self._calls += 1
        if self._calls < found.nth:
            return
        # Once: a second SIGTERM would end the worker at once.
        self._file.unlink()
        self._calls = 0
        number = signal.Signals[found.signal]
        if found.moment == "during":
            threading.Timer(DURING_SECONDS, os.kill, [os.getpid(), number]).start()
        else:
            os.kill(os.getpid(), number)

    def _read(self) -> Set | None:
        with suppress(OSError, ValueError):
            step, moment, nth, name = self._file.read_text(encoding="utf-8").split()
            return Set(step, moment, int(nth), name)
        return None


class Clock:
    """The worker's wall clock, which a file puts forward or back by its seconds."""

    seconds = 0.0

    def __init__(self, file: Path) -> None:
        self._file = file
        self._time = time.time
        threading.Thread(target=self._follow, daemon=True).start()

    def time(self) -> float:
        """In the place of `time.time`."""
        return self._time() + self.seconds

    def now(self, tz: tzinfo | None = None) -> datetime:
        """In the place of `datetime.now`."""
        return datetime.now(tz) + timedelta(seconds=self.seconds)

    def replace(self) -> None:
        """Let every module of ours, and whoever asks `time`, see this clock."""
        time.time = self.time
        ours = type("datetime", (datetime,), {"now": staticmethod(self.now)})
        for name, module in [*sys.modules.items()]:
            if name.startswith("streamapp.") and getattr(module, "datetime", None) is datetime:
                vars(module)["datetime"] = ours

    def _follow(self) -> None:
        while True:
            with suppress(OSError, ValueError):
                self.seconds = float(self._file.read_text(encoding="utf-8"))
            time.sleep(0.2)


def run() -> None:
    """Be `streamapp …`, as the arguments say, with a worker set up to be hurt."""
    import_module("streamapp.worker.app")  # and with it all that has a clock
    trap = Trap(Path(os.environ["FAULT_TRAP"]))
    for step, (owner, name) in STEPS.items():
        setattr(owner, name, trap.around(step, vars(owner)[name]))
    Clock(Path(os.environ["FAULT_CLOCK"])).replace()
    main()
