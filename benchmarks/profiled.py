"""`python -m benchmarks.profiled worker …`: the worker, and which of its stages use the CPU.

A thread looks at all other threads every few milliseconds. What a thread has used of the CPU since the last look counts
for the stage of the innermost function that belongs to one. The sums so far are appended to the file that
BENCHMARK_PROFILE names, so that `benchmarks.stages` can take the difference between two instants.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

from benchmarks.stages import FILE, OF_PROFILER, REST, STAGES
from streamapp.__main__ import main

_LOOK_EVERY_SECONDS = 0.005
_WRITE_EVERY_SECONDS = 0.05
#: The default of 5 ms is too long: threads would be seen mostly where they wait, and give the interpreter away anyway.
_SWITCH_INTERVAL_SECONDS = 0.0002


class Profiler(threading.Thread):
    """Adds up the CPU seconds of each stage, and appends the sums to a file."""

    def __init__(self, file: Path) -> None:
        super().__init__(name="profiler", daemon=True)
        self.ends = threading.Event()
        self._file = file
        self._sums: dict[str, float] = defaultdict(float)
        #: CPU seconds of each thread at the last look, by the kernel's number of the thread.
        self._used: dict[int, float] = {}
        self._stages: dict[CodeType, str | None] = {}

    def run(self) -> None:
        """Look until `ends` is set, or the process ends."""
        with self._file.open("a", encoding="utf-8") as file:
            write_at = 0.0
            while not self.ends.wait(_LOOK_EVERY_SECONDS):
                self._look()
                if (now := time.monotonic()) >= write_at:
                    write_at = now + _WRITE_EVERY_SECONDS
                    print(json.dumps({"at": now, "seconds": self._sums}), file=file, flush=True)

    def _look(self) -> None:
        frames = sys._current_frames()  # noqa: SLF001 - what a profiler is for
        for thread in threading.enumerate():
            if thread.native_id and thread.ident and (used := _cpu_seconds(thread.native_id)) is not None:
                stage = OF_PROFILER if thread is self else self._stage(frames.get(thread.ident))
                self._sums[stage] += used - self._used.get(thread.native_id, 0)
                self._used[thread.native_id] = used

    def _stage(self, frame: FrameType | None) -> str:
        while frame:
            code = frame.f_code
            if code not in self._stages:
                self._stages[code] = _stage_of(code.co_filename)
            if stage := self._stages[code]:
                return stage
            frame = frame.f_back
        return REST


def _stage_of(path: str) -> str | None:
    return next((stage for stage, parts in STAGES.items() if any(part in path for part in parts)), None)


def _cpu_seconds(native_id: int) -> float | None:
    """CPU seconds of a thread of this process; None if it has ended."""
    try:
        # Linux makes the number of a thread's clock so, see `pthread_getcpuclockid`, which a thread must survive.
        return time.clock_gettime(~native_id << 3 | 6)
    except OSError:
        return None


if __name__ == "__main__":
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    Profiler(Path(os.environ[FILE])).start()
    main()
