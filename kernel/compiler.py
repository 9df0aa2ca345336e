"""Compile the kernel with the C compiler of this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).parent / "module.c"
#: The name by which every CPython from 3.11 on finds it.
FILE_NAME = "_streamapp_kernel.abi3.so"
#: As in streamapp/decode/kernel.py.
VERSION = 2
_OPTIONS = (
    "-O3",
    "-std=c11",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-fstack-protector-strong",
    "-DPy_LIMITED_API=0x030B0000",
)
_IS_MACOS = sys.platform == "darwin"
_LINK_OPTIONS = ("-bundle", "-undefined", "dynamic_lookup") if _IS_MACOS else ("-shared", "-Wl,-z,relro,-z,now")


class CompilerError(Exception):
    """The kernel cannot be compiled here."""


def compile_kernel(target: Path, options: Sequence[str] = ()) -> None:
    """Write the extension module to `target`; a process that has loaded it keeps the former one.

    Raises:
        CompilerError: there is no compiler, there are no header files of Python, or it fails.
    """
    command = [*_compiler(), *_OPTIONS, f"-DKERNEL_VERSION={VERSION}", *options]
    includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kernel-") as folder:
        made = Path(folder) / FILE_NAME
        _run([*command, *dict.fromkeys(includes), *_LINK_OPTIONS, str(SOURCE), "-o", str(made)])
        made.replace(target)


def _compiler() -> list[str]:
    if sys.implementation.name != "cpython" or os.name != "posix" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise CompilerError("this Python has no stable ABI")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise CompilerError("Python.h is missing; Debian has it in python3-dev")
    wanted = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    for command in (shlex.split(each) for each in wanted if each):
        if command and shutil.which(command[0]):
            return command
    raise CompilerError("there is no C compiler")


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
    except OSError as exc:
        raise CompilerError(f"{command[0]} cannot run: {exc}") from exc
    except subprocess.CalledProcessError as exc:
        raise CompilerError(f"{command[0]} fails: {exc.stderr.strip()[:2_000]}") from exc
