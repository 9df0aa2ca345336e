"""What `docs/generate.py` writes is up to date, and says what the settings do."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import generate
import pytest
from generators import constraints, services

from streamapp.settings import ENVIRONMENT_ONLY, PREFIX, Settings, load, sources

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

    assert ["constraints"] == workspace["members"]
    assert constraints.versions(ROOT / "requirements.lock") == member["project"]["dependencies"]
    assert not member["tool"]["uv"]["package"]


def setting(line: str) -> str:
    """Return the name of the setting in a line of a `.env`."""
    return line.partition("=")[0].removeprefix(PREFIX).lower()


@pytest.mark.parametrize("service", services.SERVICES, ids=lambda service: service.name)
def test_the_block_of_a_service_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: services.Service
) -> None:
    """Uncommented and with its secrets in files, it is a connection; nothing that the service needs is missing."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: b"mongodb+srv://u:p@h")
    block = (ROOT / ".env.example").read_text("utf-8").partition(f"\n# {service.name}\n")[2].partition("\n\n")[0]
    Path(".env").write_text(block.replace("#", ""), "utf-8")

    loaded = load()

    assert set(service.values) <= loaded.model_fields_set
    assert "'" not in (loaded.kafka_sasl_username or "")
    assert {*service.terms.values()} <= {*Settings.model_fields}


def test_uncommented_example_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of `.env.example` may be uncommented, and then says what is true without it."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    defaults = Settings()
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    secret_files = {f"{name}_file" for name in sources.secrets(Settings.model_fields)}
    uncommented = [line.removeprefix("# ") for line in lines if line.startswith(f"# {PREFIX}")]
    uncommented = [line for line in uncommented if setting(line) not in secret_files]  # a secret is set once
    Path(".env").write_text("\n".join(uncommented), "utf-8")

    given = Settings()

    assert {*Settings.model_fields} - {*ENVIRONMENT_ONLY} - secret_files == given.model_fields_set
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
