"""The compiled kernel is built where there is a compiler; where there is none, everything else is."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from streamapp.decode import kernel

FOLDER = Path(__file__).parents[2] / "kernel"
needs_headers = pytest.mark.skipif(
    not (Path(sysconfig.get_path("include")) / "Python.h").exists(), reason="no header files of Python"
)
needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")


@pytest.fixture
def compiler() -> ModuleType:
    """Return the module, which does not belong to a package."""
    spec = importlib.util.spec_from_file_location("compiler", FOLDER / "compiler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_headers
@needs_compiler
def test_the_sources_compile_without_a_warning(compiler: ModuleType, tmp_path: Path) -> None:
    """What is made can be loaded, and nothing else stays."""
    target = tmp_path / "folder" / compiler.FILE_NAME
    compiler.compile_kernel(target, ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wno-sign-conversion"])

    environ = {**os.environ, "PYTHONPATH": str(target.parent)}
    code = "import _streamapp_kernel as kernel; print(kernel.__file__)"
    assert f"{target}\n" == subprocess.check_output([sys.executable, "-c", code], env=environ, text=True)
    assert [target] == [*target.parent.iterdir()]


@needs_headers
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "there is no C compiler"),
        ("#!/bin/sh\necho no such option >&2; exit 1\n", "cc fails: no such option"),
        ("not a program", "cc cannot run"),
    ],
)
def test_without_a_compiler_that_works(
    compiler: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, expected: str
) -> None:
    """The error says what is missing; the build hook goes on without the kernel."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: None)
    if script:
        (tmp_path / "cc").write_text(script)
        (tmp_path / "cc").chmod(0o755)

    with pytest.raises(compiler.CompilerError, match=expected):
        compiler.compile_kernel(tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_setting_without_a_command_is_passed_over(
    compiler: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like one that names no program."""
    monkeypatch.setenv("CC", " ")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: None)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    (tmp_path / "Python.h").touch()

    with pytest.raises(compiler.CompilerError, match="there is no C compiler"):
        compiler.compile_kernel(tmp_path / "made")


def test_a_change_of_the_kernel_is_another_version(compiler: ModuleType) -> None:
    """The kernel that another checkout has built would read programs that it does not know.

    After a change of these files, raise the version in kernel/compiler.py and streamapp/decode/kernel.py, and note the
    new digest here.
    """
    program = FOLDER.parent / "streamapp" / "decode" / "kernel_program.py"
    files = [*sorted(FOLDER.glob("*.[ch]")), program]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    assert {kernel.VERSION: digest[:16]} == {compiler.VERSION: "22eec404985221ba"}


def test_without_the_header_files(compiler: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package of Debian."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))

    with pytest.raises(compiler.CompilerError, match="python3-dev"):
        compiler.compile_kernel(tmp_path / "made")


def test_without_the_stable_abi(compiler: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without the interpreter lock has none."""
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: 1)

    with pytest.raises(compiler.CompilerError, match="stable ABI"):
        compiler.compile_kernel(tmp_path / "made")
