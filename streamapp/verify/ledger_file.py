"""The file of a ledger: read, and added to such that it is whole at any time, also after kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from streamapp.verify import sent
from streamapp.verify.sent import NoLedgerError, Sent


def read(path: Path) -> Sequence[Sent]:
    """What the runs in it have sent; raises OSError and NoLedgerError."""
    try:
        return sent.parse(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise NoLedgerError("it is no text") from None


def append(path: Path, run: Sent) -> None:
    """Add a run, after those that others add at the same time; raises OSError."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = path.read_bytes() if path.exists() else b""
        new = path.with_name(f".{path.name}.new")
        with new.open("wb") as file:
            file.write(before + sent.line_of(run).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        os.close(folder)
