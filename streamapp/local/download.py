"""Download by Maven coordinates: a file is in the cache complete and with the right checksum, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import requests
from jgo.maven import Artifact, MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from streamapp.errors import BackendError
from streamapp.local import ALTERNATIVES

ATTEMPTS = 3
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 16


class ChecksumError(requests.RequestException):
    """The downloaded file does not have the published checksum."""


class CheckedResolver(PythonResolver):
    """A resolver that checks checksums; jgo's own writes directly into the cache and only warns of a wrong checksum."""

    def __init__(self, progress: Progress, label: str) -> None:
        super().__init__()
        self._session = requests.Session()
        self._progress = progress
        self._task = progress.add_task(label, total=None)
        self._total = 0

    def download(self, artifact: Artifact) -> Path:
        """Download one artefact into the cache; try again if the connection breaks."""
        target = cast("Path", artifact.cached_path)  # `repository` sets the cache
        target.parent.mkdir(parents=True, exist_ok=True)
        (repository,) = artifact.context.remote_repos.values()
        url = f"{repository}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._fetch(url, target)
            except requests.RequestException as exc:
                if attempt == ATTEMPTS or isinstance(exc, requests.HTTPError):
                    raise
        raise AssertionError

    def _fetch(self, url: str, target: Path) -> Path:
        part = target.with_name(f"{target.name}.part")
        try:
            checksum = self._checksum(url)
            if self._stream(url, part) != checksum:
                raise ChecksumError(f"{target.name} does not have the checksum that its publisher gives")
            target.with_name(f"{target.name}.sha1").write_text(checksum, encoding="ascii")
            return part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _stream(self, url: str, part: Path) -> str:
        sha1 = hashlib.sha1(usedforsecurity=False)  # the only checksum that Maven repositories have for every file
        with self._session.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response, part.open("wb") as file:
            response.raise_for_status()
            self._expect(int(response.headers.get("Content-Length", 0)))
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                sha1.update(chunk)
                self._progress.advance(self._task, len(chunk))
        return sha1.hexdigest()

    def _expect(self, more_bytes: int) -> None:
        self._total += more_bytes
        self._progress.update(self._task, total=self._total)

    def _checksum(self, url: str) -> str:
        response = self._session.get(f"{url}.sha1", timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        return response.text.split()[0]


def discard_damaged(folder: Path) -> None:
    """Remove files that no longer have the checksum of their download, so that they are downloaded again."""
    for checksum in folder.rglob("*.sha1"):
        file = checksum.with_suffix("")
        if file.exists() and hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest() != checksum.read_text():
            file.unlink()


@contextmanager
def repository(folder: Path, label: str) -> Generator[MavenContext]:
    """Open the repository with its cache in `folder`; show downloads on stderr, with this label.

    Raises:
        BackendError: a download failed; the message names remedies.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    progress = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    try:
        discard_damaged(folder)
        with progress:
            yield MavenContext(repo_cache=folder, resolver=CheckedResolver(progress, label))
    except (requests.RequestException, RuntimeError, OSError) as exc:
        raise BackendError(
            f"{label} cannot be downloaded: {_reason(exc)}.\n"
            "It is downloaded only once. Check the network (a proxy can be set with HTTPS_PROXY) and the disk, and try"
            f" again. Complete files in {folder} are not downloaded again.\n{ALTERNATIVES}"
        ) from exc


def class_path(maven: MavenContext, coordinates: str) -> list[Path]:
    """Return the jars of a Java program and of all its dependencies."""
    program = maven.create_dependency(coordinates)
    _, others = maven.resolver.resolve([program])
    needed = [program, *(other for other in others if other.scope in {"compile", "runtime"})]
    jars = [dependency.artifact.resolve() for dependency in needed]
    # They contain no logger: without this one, a program that fails prints no reason.
    (logging_api,) = (dependency for dependency in needed if dependency.artifactId == "slf4j-api")
    return [*jars, maven.project("org.slf4j", "slf4j-simple").at_version(logging_api.version).artifact().resolve()]


def _reason(exc: Exception) -> str:
    if isinstance(exc, requests.ConnectionError | requests.Timeout) and exc.request and exc.request.url:
        return f"no answer from {urlsplit(exc.request.url).hostname}"
    return str(exc)
