"""A worker that injects a fault into itself: a signal at a step of a batch, or a jump of its clock.

Without the files that FAULT_POINT and FAULT_CLOCK name it is a normal worker. The file holds one line,
`<step> <moment> <nth call> <signal>`; it is deleted when the signal is sent.
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
from streamapp.registry.cache import SchemaCache
from streamapp.transport.consumer import BatchConsumer

#: In the order in which a batch reaches them.
STEPS: dict[str, tuple[type, str]] = {
    "schemas": (SchemaCache, "resolve"),
    "insert": (EventStore, "insert"),
    "apart": (OutOfOrderStore, "insert"),
    "mark": (EventStore, "mark_failed"),
    "send": (DeadLetterProducer, "send"),
    "count": (EventStore, "count_dead_letters"),
    "rollups": (RollupStore, "write_if_unchanged"),
    "ack": (BatchConsumer, "ack"),
    "commit": (BatchConsumer, "_commit_offsets"),
}
MOMENTS = ("before", "during", "after")
#: Within a call to a server on the same machine.
DURING_SECONDS = 0.002


class ArmedFaultPoint(NamedTuple):
    """A fault point that is armed."""

    step: str
    moment: str
    nth: int
    signal: str


class FaultPoint:
    """Counts the calls of the step that its file names, and sends the signal at one of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._calls = 0

    def around(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the step with the fault point around it."""

        @wraps(call)
        async def waiting(*args: Any, **values: Any) -> Any:
            self._trigger(step, "before", "during")
            result = await call(*args, **values)
            self._trigger(step, "after")
            return result

        @wraps(call)
        def plain(*args: Any, **values: Any) -> Any:
            self._trigger(step, "before", "during")
            result = call(*args, **values)
            self._trigger(step, "after")
            return result

        return waiting if inspect.iscoroutinefunction(call) else plain

    def _trigger(self, step: str, *moments: str) -> None:
        found = self._read()
        if found is None or found.step != step or found.moment not in moments:
            return
        self._calls += 1
        if self._calls < found.nth:
            return
        # once: a second SIGTERM would end the worker immediately
        self._file.unlink()
        self._calls = 0
        number = signal.Signals[found.signal]
        if found.moment == "during":
            threading.Timer(DURING_SECONDS, os.kill, [os.getpid(), number]).start()
        else:
            os.kill(os.getpid(), number)

    def _read(self) -> ArmedFaultPoint | None:
        with suppress(OSError, ValueError):
            step, moment, nth, name = self._file.read_text(encoding="utf-8").split()
            return ArmedFaultPoint(step, moment, int(nth), name)
        return None


class Clock:
    """The worker's wall clock, which a file shifts by its seconds."""

    seconds = 0.0

    def __init__(self, file: Path) -> None:
        self._file = file
        self._time = time.time
        threading.Thread(target=self._follow, daemon=True).start()

    def time(self) -> float:
        """Replace `time.time`."""
        return self._time() + self.seconds

    def now(self, tz: tzinfo | None = None) -> datetime:
        """Replace `datetime.now`."""
        return datetime.now(tz) + timedelta(seconds=self.seconds)

    def replace(self) -> None:
        """Make every module of streamapp, and every caller of `time.time`, see this clock."""
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
    """Run `streamapp …` with the arguments of the command line, with fault points installed."""
    import_module("streamapp.worker.app")  # imports every module that has a clock
    fault_point = FaultPoint(Path(os.environ["FAULT_POINT"]))
    for step, (owner, name) in STEPS.items():
        setattr(owner, name, fault_point.around(step, getattr(owner, name)))
    Clock(Path(os.environ["FAULT_CLOCK"])).replace()
    main()
