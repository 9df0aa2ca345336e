"""Downloads: their folder, and how a damaged one is detected."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import artifacts


def downloaded(cache: Path) -> list[Path]:
    """Return the files of a complete download named `kafka`, not in alphabetical order."""
    files = [cache / "b.jar", cache / "a.jar"]
    for file in files:
        file.write_bytes(b"whole")
    artifacts.write_manifest(cache, "kafka", files)
    return files


def test_chosen_folder_comes_first() -> None:
    """The setting takes precedence over the environment."""
    assert artifacts.cache_folder(Path("/mine"), {"XDG_CACHE_HOME": "/xdg"}) == Path("/mine")


def test_cache_is_below_the_users_cache_folder() -> None:
    """Without the setting, the XDG convention holds."""
    assert artifacts.cache_folder(None, {"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/streamapp")


def test_complete_download_is_used_again(tmp_path: Path) -> None:
    """All files are returned in the saved order, which is that of the class path."""
    files = downloaded(tmp_path)

    assert artifacts.read_manifest(tmp_path, "kafka") == files


def test_unknown_download_has_no_files(tmp_path: Path) -> None:
    """A download that was never complete counts as missing."""
    assert artifacts.read_manifest(tmp_path, "kafka") == []


def test_truncated_file_makes_the_download_incomplete(tmp_path: Path) -> None:
    """It is detected at the next start."""
    first, _ = downloaded(tmp_path)
    first.write_bytes(b"who")

    assert artifacts.read_manifest(tmp_path, "kafka") == []


def test_truncated_list_of_files_makes_the_download_incomplete(tmp_path: Path) -> None:
    """The list itself can be incomplete."""
    downloaded(tmp_path)
    (tmp_path / "kafka.json").write_text('{"b.j', encoding="utf-8")

    assert artifacts.read_manifest(tmp_path, "kafka") == []


def test_missing_package_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install the extra, and names the alternatives."""
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    monkeypatch.delitem(sys.modules, "streamapp.local.download", raising=False)

    with pytest.raises(BackendError, match=r"(?s)pip install '\.\[local\]'.*compose.yaml.*STREAMAPP_KAFKA_BOOT"):
        artifacts.kafka_jars("4.4.0", tmp_path)


def test_unusable_cache_folder_names_its_setting(tmp_path: Path) -> None:
    """The setting can name another folder."""
    (tmp_path / "file").touch()

    with pytest.raises(BackendError, match="STREAMAPP_LOCAL_CACHE_DIR"):
        artifacts.kafka_jars("4.4.0", tmp_path / "file")
