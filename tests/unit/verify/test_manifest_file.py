"""The manifest file: read, appended to, and refused if it is another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.verify import manifest_file
from streamapp.verify.checks.manifest import NoManifestError
from tests.unit.verify.checks.test_manifest import a_run


def test_runs_are_appended(tmp_path: Path) -> None:
    """No temporary file is left."""
    path = tmp_path / "sent.jsonl"
    manifest_file.append(path, a_run())
    manifest_file.append(path, a_run())
    assert [a_run(), a_run()] == manifest_file.read(path)
    assert [path] == [*tmp_path.iterdir()]


@pytest.mark.parametrize(("content", "why"), [(b"\xff", "the file is not UTF-8 text"), (b"", "the file has no run")])
def test_a_file_without_a_run_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    """The error says what is wrong with the file."""
    path = tmp_path / "sent.jsonl"
    path.write_bytes(content)
    with pytest.raises(NoManifestError, match=why):
        manifest_file.read(path)


def test_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    """The run is appended to the file that it points to."""
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.jsonl"
    link.symlink_to("far/sent.jsonl")
    manifest_file.append(link, a_run())
    assert link.is_symlink()
    assert [a_run()] == manifest_file.read(tmp_path / "far" / "sent.jsonl")


def test_a_trial_creates_no_file(tmp_path: Path) -> None:
    """Neither for an empty file nor for a new one."""
    (tmp_path / "empty.jsonl").touch()
    for name in ("empty.jsonl", "new.jsonl"):
        manifest_file.try_out(tmp_path / name)
    assert [tmp_path / "empty.jsonl"] == [*tmp_path.iterdir()]


def test_a_path_that_cannot_be_appended_to_is_refused(tmp_path: Path) -> None:
    """The folder is read-only or missing, or the path is a device, a folder or another file."""
    other = tmp_path / "other.txt"
    other.write_text("mine")
    for path in (Path("/proc/x.jsonl"), tmp_path / "none" / "x.jsonl"):
        with pytest.raises(OSError, match="No such file"):
            manifest_file.try_out(path)
    for path in (Path("/dev/null"), tmp_path, other):
        with pytest.raises(NoManifestError):
            manifest_file.try_out(path)
    assert [other] == [*tmp_path.iterdir()]
