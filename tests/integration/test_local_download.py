"""Downloads: a file is in the cache whole and right, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
import requests
from jgo.maven import Artifact, MavenContext
from rich.progress import Progress

from streamapp.local.download import CheckedResolver, discard_damaged

CONTENT = b"0123456789" * 20_000
PATH = Path("org/example/thing/1.0/thing-1.0.jar")


class Repository(ThreadingHTTPServer):
    """Serves one artefact and its checksum, with as many faults as it is told, first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut_off = 0
        self.checksum = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self) -> None:
        """Give the artefact, perhaps not to its end, or its checksum."""
        repository = cast("Repository", self.server)
        body = repository.checksum.encode() if self.path.endswith(".sha1") else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body is CONTENT and repository.cut_off:
            repository.cut_off -= 1
            body = body[:100_000]
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Print nothing."""


@pytest.fixture
def repository() -> Generator[Repository]:
    """Return a Maven repository on loopback."""
    with Repository() as server:
        Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


def artifact(repository: Repository, cache: Path, progress: Progress | None = None) -> Artifact:
    """Return the artefact, not fetched yet."""
    maven = MavenContext(
        repo_cache=cache,
        resolver=CheckedResolver(progress or Progress(disable=True), "Thing"),
        remote_repos={"here": f"http://127.0.0.1:{repository.server_port}"},
    )
    return maven.project("org.example", "thing").at_version("1.0").artifact()


def files(cache: Path) -> set[Path]:
    """Return all files in the cache."""
    return {path.relative_to(cache) for path in cache.rglob("*") if path.is_file()}


def test_whole_file_is_kept(repository: Repository, tmp_path: Path) -> None:
    """A good download is in the cache, with its checksum."""
    assert artifact(repository, tmp_path).resolve().read_bytes() == CONTENT
    assert files(tmp_path) == {PATH, PATH.with_name("thing-1.0.jar.sha1")}


def test_damaged_file_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    """A file that has changed since its download is not taken for what it was."""
    artifact(repository, tmp_path).resolve().write_bytes(b"0123")
    discard_damaged(tmp_path)

    assert artifact(repository, tmp_path).resolve().read_bytes() == CONTENT


def test_cut_off_download_is_tried_again(repository: Repository, tmp_path: Path) -> None:
    """A line that breaks in the middle costs another try, not the file."""
    repository.cut_off = 1

    assert artifact(repository, tmp_path).resolve().read_bytes() == CONTENT


def test_line_that_always_breaks_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    """What cannot be had whole is not kept."""
    repository.cut_off = 100

    with pytest.raises(requests.RequestException):
        artifact(repository, tmp_path).resolve()
    assert files(tmp_path) == set()


def test_wrong_checksum_is_refused(repository: Repository, tmp_path: Path) -> None:
    """What is whole but not what was published is not kept."""
    repository.checksum = "0" * 40

    with pytest.raises(requests.RequestException, match="checksum"):
        artifact(repository, tmp_path).resolve()
    assert files(tmp_path) == set()


def test_interrupt_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves no half file, in its place or beside it."""

    class Impatient(Progress):
        def advance(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artifact(repository, tmp_path, Impatient(disable=True)).resolve()
    assert files(tmp_path) == set()
