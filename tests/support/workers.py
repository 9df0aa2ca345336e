"""Workers as users run them: a process each, with its own log and port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from pydantic import SecretStr

from streamapp import net
from streamapp.settings import PREFIX, Settings
from tests.support.until import until

FAUST = str(Path(sys.executable).with_name("faust"))
STREAMAPP = str(Path(sys.executable).with_name("streamapp"))


def environment(settings: Settings) -> dict[str, str]:
    """Return an environment that says what these settings say."""
    values: dict[str, str] = {}
    given = settings.model_dump(exclude_none=True)
    for name, value in given.items():
        if f"{name}_file" in given:  # a secret that is given as a file
            continue
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        values[f"{PREFIX}{name.upper()}"] = str(plain)
    return {**os.environ, **values}


def run(*command: str, settings: Settings, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, env=environment(settings), capture_output=True, text=True, timeout=120, check=False, **options
    )


class Process(Protocol):
    """As much of `subprocess.Popen` as a worker's process must have."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it runs."""
        ...


class Worker:
    """`faust -A streamapp worker`, as a process of its own."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        command: tuple[str, ...] = (FAUST, "-A", "streamapp", "worker"),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.port = net.choose_port()
        self.log = folder / f"worker-{self.port}.log"
        self.process = self._start(
            [*command, "--web-port", str(self.port)], {**environment(settings), **(environ or {})}, folder
        )

    def _start(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Process:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                env=environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def page(self, path: str) -> tuple[int, Mapping[str, Any]]:
        """Return status and body of one of its pages; status 0 while there is no answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=1) as response:
                return response.status, json.load(response)
        except HTTPError as exc:
            return exc.code, json.load(exc)
        except OSError:
            return 0, {}

    @property
    def is_ready(self) -> bool:
        """What /readyz says."""
        assert self.process.poll() is None, self.text
        return self.page("/readyz")[0] == 200

    @property
    def text(self) -> str:
        """Everything it has printed."""
        return self.log.read_text(errors="replace")

    @property
    def metrics(self) -> str:
        """What /metrics answers."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as response:
            return response.read().decode()

    def wait_until_ready(self) -> Self:
        """Wait, and return it."""
        until(lambda: self.is_ready, what="a ready worker")
        return self

    def kill(self) -> None:
        """As a machine that loses power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, within: float = 60) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
