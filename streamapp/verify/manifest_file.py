"""Read a manifest file, and append to it atomically: the file stays valid after kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, NoManifestError


def read(path: Path) -> Sequence[Manifest]:
    """Read the runs of a manifest file; raise OSError or NoManifestError."""
    try:
        runs = manifest.parse(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise NoManifestError("the file is not UTF-8 text") from None
    if not runs:
        raise NoManifestError("the file has no run")
    return runs


def try_out(path: Path) -> None:
    """Check that runs can be appended, without a change to the file; raise OSError or NoManifestError."""
    if path.exists() and not path.is_file():
        raise NoManifestError("it is not a regular file")
    if path.exists() and path.stat().st_size:
        read(path)
    with _new_beside(path.resolve()) as new:
        new.touch()


def append(path: Path, run: Manifest) -> None:
    """Append a run; concurrent callers take turns; raise OSError."""
    path = path.resolve()  # so that a symbolic link is not replaced
    with _new_beside(path) as new:
        before = path.read_bytes() if path.exists() else b""
        with new.open("wb") as file:
            file.write(before + manifest.to_line(run).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


@contextmanager
def _new_beside(path: Path) -> Generator[Path]:
    """Yield the path of a temporary file in the same folder, under an exclusive lock of the folder."""
    folder = os.open(path.parent, os.O_RDONLY)
    new = path.with_name(f".{path.name}.new")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            yield new
        finally:
            new.unlink(missing_ok=True)
    finally:
        os.close(folder)
