"""The workers of an environment: each must stay alive unless a fault has ended it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamapp.settings import Settings
from tests.support.forked import Forked
from tests.support.until import until
from tests.support.workers import Process, Worker

LOST = re.compile(r"Kafka has deleted (\d+) offsets of ")


def _run_with_fault_points() -> None:
    from tests.faults import worker  # noqa: PLC0415 - in its process, where its settings are

    worker.run()


class Member(Worker):
    """A worker that a fault may end or freeze."""

    def __init__(self, settings: Settings, folder: Path, number: int) -> None:
        self.fault_point, self.clock = folder / f"trap-{number}", folder / f"clock-{number}"
        environ = {"FAULT_POINT": str(self.fault_point), "FAULT_CLOCK": str(self.clock)}
        super().__init__(settings, folder, command=("streamapp", "worker"), environ=environ)
        #: Whether a fault has ended it, or is about to.
        self.is_doomed = False

    def _start(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Process:
        return Forked(command, environ=environ, folder=folder, log=self.log, main=_run_with_fault_points)

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process.poll() is None

    def end_at(self, step: str, moment: str, nth: int, *, number: signal.Signals) -> None:
        """Let it send itself a signal at a step of a batch; see `tests/faults/worker.py`."""
        self.is_doomed = True
        draft = self.fault_point.with_suffix(".draft")
        draft.write_text(f"{step} {moment} {nth} {number.name}", encoding="utf-8")
        draft.replace(self.fault_point)

    def freeze(self) -> None:
        """Freeze it, as a suspended machine does."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue, as if no time had passed."""
        if self.is_alive:
            os.killpg(self.process.pid, signal.SIGCONT)

    @property
    def peak_mib(self) -> int:
        """Its peak memory so far, in MiB."""
        return self._memory("VmHWM")

    @property
    def resident_mib(self) -> int:
        """Its present memory, in MiB."""
        return self._memory("VmRSS")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) // 1024

    @property
    def lost(self) -> int:
        """The number of records that, by its log, Kafka deleted before it read them."""
        return sum(map(int, LOST.findall(self.text)))


class Workers:
    """All workers that an environment has had."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.members: list[Member] = []
        self._settings = settings
        self._folder = folder

    def start(self) -> Member:
        """Start one more."""
        self.members.append(Member(self._settings, self._folder, len(self.members)))
        return self.members[-1]

    @property
    def untouched(self) -> list[Member]:
        """Workers that are not targets of a fault."""
        return [member for member in self.members if not member.is_doomed]

    def ended(self) -> list[Member]:
        """Workers that have ended without a fault."""
        return [member for member in self.untouched if not member.is_alive]

    def wait_until_ready(self, within: float) -> None:
        """Wait until each living worker is ready."""
        until(
            lambda: all(member.page("/readyz")[0] == 200 for member in self.untouched),
            within=within,
            what="ready workers",
        )

    def stop(self) -> list[int]:
        """Ask all to end; return the exit codes of those that no fault has ended."""
        for member in self.untouched:
            if member.is_alive:
                member.process.send_signal(signal.SIGTERM)
        return [member.process.wait(30) for member in self.untouched]

    def kill(self) -> None:
        """Kill all of them."""
        for member in self.members:
            if member.is_alive:
                member.kill()
