"""The commands of the tutorial, the how-to guides and the pages on operations work as they are written.

Each `console` block is run, and each `python`, `json` or `toml` block with a title is saved under that name. A comment
on the line before a block says where it is otherwise:

    <!-- test: skip, WHY -->             the block is not run
    <!-- test: exit code N -->           its commands exit with N
    <!-- test: background until URL -->  its command runs until the end of the page; URL answers 200 once it is ready
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest

from streamapp import net
from streamapp.local.backend import Backend
from streamapp.settings import Settings
from tests.support.backends import plain_settings
from tests.support.offsets import committed, end_offsets
from tests.support.until import until
from tests.support.workers import Worker, environment

ROOT = Path(__file__).parents[2]
PAGES = [page for kind in ("tutorial", "how-to", "operations") for page in sorted((ROOT / "docs" / kind).glob("*.md"))]
BLOCK = re.compile(
    r'(?:<!-- test: (.+?) -->\n *)?```(console|python|json|toml)(?: title="(.+?)")?\n(.*?)```', re.DOTALL
)
EXIT_CODE = re.compile(r"exit code (\d+)")
BACKGROUND = re.compile(r"background until (http://localhost:(\d+)/\S+)")
#: Ports as the pages have them.
WORKER, DASHBOARD = "6066", "8501"


class Block(NamedTuple):
    """A fenced block of a page, and the comment before it."""

    marker: str
    language: str
    title: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines behind a prompt, without `uv run`: the tests run in its environment already."""
        stripped = map(str.strip, self.text.splitlines())  # a block in a list is indented
        lines = [line.removeprefix("$ ") for line in stripped if line.startswith("$ ")]
        return [re.sub(r"\buv run ", "", line) for line in lines]


@dataclass(kw_only=True)
class Terminals:
    """Where the blocks of a page are run."""

    settings: Settings
    folder: Path
    #: Port in the page → port here.
    ports: dict[str, str]
    stack: ExitStack = field(default_factory=ExitStack)

    def run(self, block: Block) -> None:
        """Do what the block and its marker say."""
        if block.title:
            (self.folder / block.title).write_text(block.text, "utf-8")
        elif block.language == "console" and not block.marker.startswith("skip, "):
            if not any("send-sample" in command for command in block.commands):
                until(self._is_settled, within=60, what="a settled topic")
            self._run(block)

    def _run(self, block: Block) -> None:
        if background := BACKGROUND.fullmatch(block.marker):
            url, port = background.groups()
            self.ports[port] = str(net.choose_port())
            self.stack.enter_context(self._running(*block.commands, url=self._here(url)))
        else:
            expected = EXIT_CODE.fullmatch(block.marker)
            assert expected or not block.marker, f"unknown marker: {block.marker}"
            for command in block.commands:
                done = subprocess.run(**self._shell(command), capture_output=True, text=True, timeout=400, check=False)
                assert done.returncode == int(expected[1] if expected else 0), (
                    f"{command}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
                )

    @contextmanager
    def _running(self, command: str, *, url: str) -> Generator[None]:
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(**self._shell(command), stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: process.poll() is None and _answers(url), within=90, what=f"{command} at {url}")
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(120)

    def _shell(self, command: str) -> dict[str, Any]:
        environ = environment(self.settings)
        environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
        environ |= {"STREAMAPP_WEB_PORT": self.ports[WORKER], "STREAMAPP_DASHBOARD_PORT": self.ports[DASHBOARD]}
        shell = ["bash", "-c", self._here(command)]
        return {"args": shell, "cwd": self.folder, "env": environ, "stdin": subprocess.DEVNULL}

    def _here(self, text: str) -> str:
        return re.sub(
            r"(localhost:|--web-port )(\d+)", lambda found: found[1] + self.ports.get(found[2], found[2]), text
        )

    def _is_settled(self) -> bool:
        return end_offsets(self.settings) == committed(self.settings)


@pytest.fixture(scope="module")
def default_names(private_backend: Backend) -> Settings:
    """Return settings with the default topic, group and database, which the pages use."""
    addresses = private_backend.addresses
    return plain_settings(
        kafka_bootstrap_servers=addresses.kafka_bootstrap_servers,
        schema_registry_url=addresses.schema_registry_url,
        mongo_uri=addresses.mongo_uri,
        produce_interval_seconds=0,
    )


@pytest.fixture(scope="module")
def worker(default_names: Settings, tmp_path_factory: pytest.TempPathFactory) -> Generator[Worker]:
    """Return a worker that settles what the commands send."""
    with Worker(default_names, tmp_path_factory.mktemp("worker")) as worker:
        yield worker.wait_until_ready()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_of_the_page_succeeds(worker: Worker, default_names: Settings, page: Path, tmp_path: Path) -> None:
    """In order, with the files that the page has saved before."""
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    known = {WORKER: str(worker.port), DASHBOARD: str(net.choose_port())}
    terminals = Terminals(settings=default_names, folder=tmp_path, ports=known)

    with terminals.stack:
        for block in BLOCK.findall(page.read_text("utf-8")):
            terminals.run(Block(*block))


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False
