"""Artefacts: where they are kept, and how a damaged one is noticed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import artifacts


def downloaded(cache: Path) -> list[Path]:
    """Return the files of a finished download called `kafka`, in an order that is not the alphabet's."""
    files = [cache / "b.jar", cache / "a.jar"]
    for file in files:
        file.write_bytes(b"whole")
    artifacts.write_manifest(cache, "kafka", files)
    return files


def test_chosen_folder_comes_first() -> None:
    """The setting beats the environment's cache folder."""
    assert artifacts.cache_folder(Path("/mine"), {"XDG_CACHE_HOME": "/xdg"}) == Path("/mine")


def test_cache_is_below_the_users_cache_folder() -> None:
    """Without the setting, the XDG convention holds."""
    assert artifacts.cache_folder(None, {"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/streamapp")


def test_whole_download_is_used_as_it_is(tmp_path: Path) -> None:
    """All files are there, in the order in which they were noted, which is the class path's."""
    files = downloaded(tmp_path)

    assert artifacts.read_manifest(tmp_path, "kafka") == files


def test_unknown_download_has_no_files(tmp_path: Path) -> None:
    """What was never fetched to its end counts as not fetched."""
    assert artifacts.read_manifest(tmp_path, "kafka") == []


def test_cut_off_file_makes_the_download_incomplete(tmp_path: Path) -> None:
    """A file that has lost its end is noticed at the next start."""
    first, _ = downloaded(tmp_path)
    first.write_bytes(b"who")

    assert artifacts.read_manifest(tmp_path, "kafka") == []


def test_cut_off_list_of_files_makes_the_download_incomplete(tmp_path: Path) -> None:
    """The list of files may itself have lost its end."""
    downloaded(tmp_path)
    (tmp_path / "kafka.json").write_text('{"b.j', encoding="utf-8")

    assert artifacts.read_manifest(tmp_path, "kafka") == []


def test_missing_package_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, the message says how to install it, and the ways without it."""
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    monkeypatch.delitem(sys.modules, "streamapp.local.download", raising=False)

    with pytest.raises(BackendError, match=r"(?s)pip install '\.\[local\]'.*compose.yaml.*STREAMAPP_KAFKA_BOOT"):
        artifacts.kafka_jars("4.4.0", tmp_path)


def test_unusable_cache_folder_names_its_setting(tmp_path: Path) -> None:
    """Where nothing can be kept, the message says which setting names another place."""
    (tmp_path / "file").touch()

    with pytest.raises(BackendError, match="STREAMAPP_LOCAL_CACHE_DIR"):
        artifacts.kafka_jars("4.4.0", tmp_path / "file")
