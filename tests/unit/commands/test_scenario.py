"""`streamapp scenario` without servers: list, new, and what is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.commands import demo, scenario
from streamapp.scenarios import scenario_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, which is the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, environ: dict[str, str] | None = None) -> Result:
    """Run a subcommand."""
    return CliRunner().invoke(scenario.command, arguments, env=environ, catch_exceptions=False)


def test_each_lesson_is_listed() -> None:
    """With its title; as JSON with its summary too."""
    lines, found = run("list").stdout.splitlines(), json.loads(run("list", "--json").stdout)

    assert [*scenario_file.lessons()] == [line.split()[0] for line in lines]
    assert [*scenario_file.lessons()] == [each["name"] for each in found["scenarios"]]
    assert all(each["title"] and each["summary"] for each in found["scenarios"])


def test_a_new_scenario_can_be_read() -> None:
    """And the command says how to play it."""
    done = run("new", "mine.toml")

    assert (0, "mine.toml is written. Play it with: streamapp scenario run mine.toml\n") == (
        done.exit_code,
        done.stdout,
    )
    assert scenario_file.load("mine.toml").schemas


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("there.toml", 1, "there.toml exists; give another name"),
        ("lesson.txt", 2, "lesson.txt must end in .toml"),
        ("no/folder.toml", 1, "no/folder.toml cannot be written: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_new(name: str, code: int, error: str) -> None:
    """Nothing is overwritten."""
    Path("there.toml").write_text("kept")
    done = run("new", name)

    assert code == done.exit_code
    assert error in done.stderr
    assert "kept" == Path("there.toml").read_text()


def test_an_unusable_scenario_exits_with_2() -> None:
    """With line and key, before any server is needed."""
    Path("bad.toml").write_text('title = "T"\nsummary = "S"\nsteps = 1\n')
    done = run("run", "bad.toml", "--yes")

    assert 2 == done.exit_code
    assert "line 3, steps: should be an array" in done.stderr


def test_the_demo_refuses_an_unknown_scenario_before_it_starts() -> None:
    """Its servers take a while."""
    done = CliRunner().invoke(demo.command, ["--scenario", "none"])

    assert 2 == done.exit_code
    assert "There is no scenario 'none'" in done.stderr


def test_production_forbids_to_register() -> None:
    """The schemas are named, and no server was asked."""
    done = run("run", "breaking-change", "--yes", environ={"STREAMAPP_REGISTER_SCHEMAS": "false"})

    assert 1 == done.exit_code
    assert "STREAMAPP_REGISTER_SCHEMAS is false, and this scenario registers required-field, other-type" in done.stderr
