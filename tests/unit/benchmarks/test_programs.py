"""The programs that benchmarks compare: those that this machine cannot build are left out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from benchmarks.programs import LOOP, PROGRAMS, compiled, named, ready

COMPILED = ("go", "go-same", "rust", "rust-same")


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of programs, and an empty cache folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("STREAMAPP_LOCAL_CACHE_DIR", str(tmp_path / "cache"))
    for build in (compiled._go, compiled._rust):
        build.cache_clear()
    return folder


def install(folder: Path, name: str, script: str) -> None:
    """Install a program, as a script for the shell."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_programs_without_their_compiler_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The others run; one line for each names what is missing."""
    found = ready([*named(",".join(COMPILED)), LOOP])

    assert [LOOP] == found
    assert [
        "go is left out: it needs `go`, which is not installed",
        "go-same is left out: it needs `go`, which is not installed",
        "rust is left out: it needs `cargo`, which is not installed",
        "rust-same is left out: it needs `cargo`, which is not installed",
    ] == capsys.readouterr().err.splitlines()


def test_program_whose_build_fails_is_left_out(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line has the last line of the compiler's output."""
    install(tools, "cargo", "echo first >&2; echo 'error: no such host' >&2; exit 101")

    assert [LOOP] == ready([*named("rust-same"), LOOP])
    assert "rust-same is left out: `cargo build` failed: error: no such host\n" == capsys.readouterr().err


def test_nothing_is_measured_without_a_program() -> None:
    """The benchmark ends before it starts servers."""
    with pytest.raises(SystemExit, match="no program is left to run"):
        ready(named("go"))


def test_program_is_built_outside_the_checkout(tools: Path, tmp_path: Path) -> None:
    """What is built is in the cache folder, and the command runs it."""
    install(tools, "go", 'while [ "$1" != -o ]; do shift; done; echo built > "$2"')
    (program,) = ready(named("go-same"))

    path, way = program.command()

    assert (tmp_path / "cache" / "programs", "same") == (Path(path).parent, way)
    assert "built\n" == Path(path).read_text("utf-8")


def test_every_program_says_what_it_is_made_of() -> None:
    """The versions of the programs in Go and Rust are those that are pinned."""
    made_of = {program.name: program.made_of() for program in PROGRAMS}

    assert made_of["go-same"].startswith("franz-go 1.")
    assert made_of["rust"].startswith("rdkafka 0.")
