"""What the README tells people to run is what CI runs, and CI's stages are documented."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / ".ci" / "run").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
STAGES = re.findall(r"^stage_(\w+)\(", SCRIPT, re.MULTILINE)


def test_ci_runs_the_command_of_the_readme() -> None:
    """The command stands in a fenced block of its own, and CI adds nothing to it but coverage."""
    readme = (ROOT / "README.md").read_text("utf-8")

    assert "\nuv run pytest\n```" in readme
    assert '" uv run pytest\n' in SCRIPT


def test_every_stage_is_described() -> None:
    """The head of the script has a line for each stage."""
    described = re.findall(r"^#   (\w+) ", SCRIPT, re.MULTILINE)

    assert sorted(STAGES) == sorted(described)


def test_unknown_stage_is_refused_before_any_runs() -> None:
    """A stage that does not exist ends the script with exit code 2 and the names of those that do."""
    done = subprocess.run([ROOT / ".ci" / "run", "unit", "nonsense"], capture_output=True, text=True, check=False)

    assert (2, "") == (done.returncode, done.stdout)
    assert [] == [stage for stage in STAGES if stage not in done.stderr]


def test_version_has_its_section_in_the_changelog() -> None:
    """The newest release in the changelog is the version, with a date."""
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    newest = next(section for section in sections if section != "[Unreleased]")

    assert re.fullmatch(rf"\[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d", newest)
