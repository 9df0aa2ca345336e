"""The file of a ledger: read, and added to such that it is whole at any time, also after kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, NoManifestError


def read(path: Path) -> Sequence[Manifest]:
    """What the runs in it have sent; raises OSError and NoLedgerError."""
    try:
        runs = manifest.parse(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise NoManifestError("it is no text") from None
    if not runs:
        raise NoManifestError("it holds no run")
    return runs


def try_out(path: Path) -> None:
    """Find out whether runs can be added to it, and leave it alone; raises OSError and NoLedgerError."""
    if path.exists() and not path.is_file():
        raise NoManifestError("it is no file")
    if path.exists() and path.stat().st_size:
        read(path)
    with _new_beside(path.resolve()) as new:
        new.touch()


def append(path: Path, run: Manifest) -> None:
    """Add a run, after those that others add at the same time; raises OSError."""
    path = path.resolve()  # a link to it stays one
    with _new_beside(path) as new:
        before = path.read_bytes() if path.exists() else b""
        with new.open("wb") as file:
            file.write(before + manifest.line_of(run).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


@contextmanager
def _new_beside(path: Path) -> Generator[Path]:
    """Where a file may be written that takes the other's place; nobody else does so meanwhile."""
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
