"""Downloads: a file is in the cache complete and with the right checksum, or not at all."""

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
    """Serves one artefact and its checksum; the first `cut_off` answers are incomplete."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut_off = 0
        self.checksum = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    def do_GET(self) -> None:
        """Send the artefact, complete or cut off, or its checksum."""
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
    """Yield a Maven repository on the loopback interface."""
    with Repository() as server:
        Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield server
        server.shutdown()


def artifact(repository: Repository, cache: Path, progress: Progress | None = None) -> Artifact:
    """Return the artefact, not downloaded yet."""
    maven = MavenContext(
        repo_cache=cache,
        resolver=CheckedResolver(progress or Progress(disable=True), "Thing"),
        remote_repos={"here": f"http://127.0.0.1:{repository.server_port}"},
    )
    return maven.project("org.example", "thing").at_version("1.0").artifact()


def files(cache: Path) -> set[Path]:
    """Return all files in the cache."""
    return {path.relative_to(cache) for path in cache.rglob("*") if path.is_file()}


def test_complete_file_is_kept(repository: Repository, tmp_path: Path) -> None:
    """A good download is in the cache, with its checksum."""
    assert artifact(repository, tmp_path).resolve().read_bytes() == CONTENT
    assert files(tmp_path) == {PATH, PATH.with_name("thing-1.0.jar.sha1")}


def test_damaged_file_is_downloaded_again(repository: Repository, tmp_path: Path) -> None:
    """A file that changed after its download is not used."""
    artifact(repository, tmp_path).resolve().write_bytes(b"0123")
    discard_damaged(tmp_path)

    assert artifact(repository, tmp_path).resolve().read_bytes() == CONTENT


def test_incomplete_download_is_tried_again(repository: Repository, tmp_path: Path) -> None:
    """A connection can break during the download."""
    repository.cut_off = 1

    assert artifact(repository, tmp_path).resolve().read_bytes() == CONTENT


def test_download_that_is_always_incomplete_leaves_no_file(repository: Repository, tmp_path: Path) -> None:
    """It is an error after the last attempt."""
    repository.cut_off = 100

    with pytest.raises(requests.RequestException):
        artifact(repository, tmp_path).resolve()
    assert files(tmp_path) == set()


def test_wrong_checksum_is_refused(repository: Repository, tmp_path: Path) -> None:
    """A complete file with another content than the published one is not kept."""
    repository.checksum = "0" * 40

    with pytest.raises(requests.RequestException, match="checksum"):
        artifact(repository, tmp_path).resolve()
    assert files(tmp_path) == set()


def test_ctrl_c_leaves_no_file(repository: Repository, tmp_path: Path) -> None:
    """Neither an incomplete file nor a temporary one."""

    class Impatient(Progress):
        def advance(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        artifact(repository, tmp_path, Impatient(disable=True)).resolve()
    assert files(tmp_path) == set()
