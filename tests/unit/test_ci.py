"""What the README tells people to run is what CI runs."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_ci_runs_the_command_of_the_readme() -> None:
    """The command stands in a fenced block of its own, and CI adds nothing to it but coverage."""
    readme, script = ((ROOT / name).read_text("utf-8") for name in ("README.md", ".ci/run"))

    assert "\nuv run pytest\n```" in readme
    assert '" uv run pytest\n' in script
