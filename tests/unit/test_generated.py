"""What `docs/generate.py` writes is up to date, and says what the settings do."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from streamapp.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """Load `docs/generate.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [".env.example", "README.md", "constraints/pyproject.toml"])
def test_generated_file_is_up_to_date(generate: ModuleType, name: str) -> None:
    """A file with a generated part is what `python docs/generate.py` would write."""
    expected = generate.documents(ROOT)[ROOT / name]

    assert expected == (ROOT / name).read_text("utf-8"), f"{name} is stale; run: python docs/generate.py"


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

    assert set(Settings.model_fields) == given.model_fields_set
    for name, field in Settings.model_fields.items():
        if field.default is not None:
            assert getattr(defaults, name) == getattr(given, name)


def test_check_names_what_is_stale(generate: ModuleType, tmp_path: Path) -> None:
    """A lock that changed makes the constraints stale, and nothing else."""
    (tmp_path / "constraints").mkdir()
    for name in [".env.example", "README.md", "constraints/pyproject.toml", "requirements.lock"]:
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    with (tmp_path / "requirements.lock").open("a", encoding="utf-8") as lock:
        lock.write("another==1.0\n")

    assert [tmp_path / "constraints" / "pyproject.toml"] == generate.stale(tmp_path)
