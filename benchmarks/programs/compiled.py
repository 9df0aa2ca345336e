"""The programs in Go and Rust: built from the sources beside this file, with the compilers of this machine.

Dependencies are pinned by `go.sum` and `Cargo.lock`; `go` and `cargo` download them. All that is built is in the cache
folder of the local backend. Without a compiler, or without its registry, a benchmark leaves the program out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from streamapp.local import artifacts, lock
from streamapp.settings import Settings

_SOURCES = Path(__file__).parent
_TIMEOUT_SECONDS = 1_800.0


class UnavailableError(Exception):
    """The program cannot run on this machine; the message says why."""


def go(way: str) -> Callable[[], Sequence[str]]:
    """Return what builds `goloop`, and returns the command that runs it.

    Args:
        way: `driver` or `same`, see goloop/main.go.
    """
    return lambda: [str(_go()), way]


def rust(way: str) -> Callable[[], Sequence[str]]:
    """Return what builds `rustloop`, and returns the command that runs it.

    Args:
        way: `driver` or `same`, see rustloop/src/main.rs.
    """
    return lambda: [str(_rust()), way]


def go_modules(*names: str) -> str:
    """Return the modules of `goloop` with these names, with their versions."""
    pinned = dict(re.findall(r"^\t(\S+) v(\S+)", (_SOURCES / "goloop" / "go.mod").read_text("utf-8"), re.MULTILINE))
    return ", ".join(f"{re.sub('/v[0-9]+$', '', name).rpartition('/')[2]} {pinned[name]}" for name in names)


def rust_crates(*names: str) -> str:
    """Return the crates of `rustloop` with these names, with their versions."""
    packages = tomllib.loads((_SOURCES / "rustloop" / "Cargo.lock").read_text("utf-8"))["package"]
    pinned = {package["name"]: package["version"] for package in packages}
    return ", ".join(f"{name} {pinned[name]}" for name in names)


@cache
def _go() -> Path:
    program = _folder() / "goloop"
    # Another version of Go is not downloaded.
    _build(["go", "build", "-buildvcs=false", "-o", str(program)], "goloop", {"GOTOOLCHAIN": "local"})
    return program


@cache
def _rust() -> Path:
    target = _folder() / "rustloop"
    _build(["cargo", "build", "--release", "--locked"], "rustloop", {"CARGO_TARGET_DIR": str(target)})
    return target / "release" / "rustloop"


def _folder() -> Path:
    folder = artifacts.cache_folder(Settings().local_cache_dir) / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build(command: Sequence[str], name: str, environ: Mapping[str, str]) -> None:
    """Build a program; nothing is compiled again that has not changed.

    Raises:
        UnavailableError: the compiler is missing, or reports an error.
    """
    if not shutil.which(command[0]):
        raise UnavailableError(f"it needs `{command[0]}`, which is not installed")
    with lock.held(_folder() / f"{name}.lock", wait=True):
        done = subprocess.run(
            command,
            cwd=_SOURCES / name,
            env={**os.environ, **environ},
            timeout=_TIMEOUT_SECONDS,
            check=False,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        *_, last = done.stderr.strip().splitlines() or ["no message"]
        raise UnavailableError(f"`{' '.join(command[:2])}` failed: {last.strip()}")
