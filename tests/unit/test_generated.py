"""What `docs/generate.py` writes is up to date, and says what the settings do."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import generate
import pytest

from streamapp.settings import ENVIRONMENT_ONLY, PREFIX, Settings

ROOT = Path(__file__).parents[2]


def test_generated_files_are_up_to_date() -> None:
    """A file with a generated part is what `python docs/generate.py` would write."""
    assert [] == generate.stale(ROOT), "run: python docs/generate.py"


def test_each_block_is_used() -> None:
    """A generated block stands in one of the documents."""
    texts = [text for path, text in generate.documents(ROOT).items() if path.suffix == ".md"]

    assert [] == [name for name in generate.BLOCKS if not any(f"<!-- generated: {name} -->" in text for text in texts)]


def test_uv_gets_what_is_locked() -> None:
    """The member of uv's workspace that holds the versions has those of the lock, which the image installs too."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["workspace"]
    member = tomllib.loads((ROOT / "constraints" / "pyproject.toml").read_text("utf-8"))
    locked = (ROOT / "requirements.lock").read_text("utf-8").splitlines()

    assert ["constraints"] == workspace["members"]
    assert locked == member["project"]["dependencies"]
    assert not member["tool"]["uv"]["package"]


def test_lock_names_versions_only() -> None:
    """The lock has exact versions, and no address, path or option."""
    locked = (ROOT / "requirements.lock").read_text("utf-8").splitlines()

    assert [] == [line for line in locked if "==" not in line or "/" in line or line.startswith("-")]


def test_uncommented_example_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of `.env.example` may be uncommented, and then says what is true without it."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    defaults = Settings()
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    uncommented = [line.removeprefix("# ") for line in lines if line.startswith(f"# {PREFIX}")]
    Path(".env").write_text("\n".join(uncommented), "utf-8")

    given = Settings()

    assert {*Settings.model_fields} - {*ENVIRONMENT_ONLY} == given.model_fields_set
    for name, field in Settings.model_fields.items():
        if field.default is not None:
            assert getattr(defaults, name) == getattr(given, name)


def test_check_names_what_is_stale(tmp_path: Path) -> None:
    """A lock that changed makes the constraints stale, and nothing else."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "constraints", tmp_path / "constraints")
    for name in [".env.example", "requirements.lock"]:
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "requirements.lock").open("a", encoding="utf-8") as lock:
        lock.write("another==1.0\n")

    assert [tmp_path / "constraints" / "pyproject.toml"] == generate.stale(tmp_path)
