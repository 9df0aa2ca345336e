"""What the README tells people to run is what CI runs, and CI's stages are documented."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

from streamapp.local.programs import PLATFORMS

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / ".ci" / "run").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
STAGES = re.findall(r"^stage_(\w+)\(", SCRIPT, re.MULTILINE)


def test_ci_runs_the_command_of_the_readme() -> None:
    """The command stands in a fenced block of its own, and CI adds nothing to it but coverage and processes."""
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


def test_hooks_run_what_ci_runs() -> None:
    """Each command of the stage `lint` is a hook of pre-commit, and there are no others."""
    (stage,) = re.findall(r"^stage_lint\(\) \{\n(.+?)^\}", SCRIPT, re.MULTILINE | re.DOTALL)
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]

    assert sorted(line.strip() for line in stage.splitlines()) == sorted(hooks)


def test_workflow_runs_on_every_platform_of_the_local_backend() -> None:
    """Linux on x86-64 runs everything; the job for the others names files that exist."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    runners = {"Linux x86_64": "ubuntu-24.04", "Linux aarch64": "ubuntu-24.04-arm", "macOS arm64": "macos-15"}
    laptops = workflow["jobs"]["laptops"]
    commands = " ".join(step.get("run", "") for step in laptops["steps"])

    assert {*runners} == {*PLATFORMS}
    assert [runners[each] for each in PLATFORMS] == [
        workflow["jobs"]["run"]["runs-on"],
        *laptops["strategy"]["matrix"]["runner"],
    ]
    assert [] == [path for path in re.findall(r"(?:tests|\.ci)/\S+", commands) if not (ROOT / path).exists()]


def test_workflow_runs_on_the_versions_of_the_classifiers() -> None:
    """The workflow's matrix has each minor version of Python that the distribution names."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    prefix = "Programming Language :: Python :: "
    named = [name.removeprefix(prefix) for name in PROJECT["classifiers"] if name.startswith(prefix)]

    assert named == workflow["jobs"]["run"]["strategy"]["matrix"]["python"]
