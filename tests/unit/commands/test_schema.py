"""`streamapp schema check` and `diff` with files and Git: exit codes, output, and what is unusable."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streamapp.commands import schema
from tests.support.schema_pairs import TEXT, array, logical, of, record
from tests.support.unusable_schemas import UNUSABLE, Unusable

A = record(TEXT)
WITH_B = record(TEXT, ("b", "int"))
WITH_DEFAULT = record(TEXT, ("b", "int", 1))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, which is the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, content: Any) -> str:
    """Write a schema, or a text; return its path."""
    text = content if isinstance(content, str) else json.dumps(content)
    Path(name).write_text(text, encoding="utf-8")
    return name


def run(*arguments: str) -> Result:
    """Run a subcommand."""
    return CliRunner().invoke(schema.command, arguments, catch_exceptions=False)


def check(new: Any, *earlier: Any, mode: str | None = None) -> tuple[int, Any]:
    """Return exit code and JSON of a check; the first earlier schema is the latest."""
    against = [part for n, each in enumerate(earlier) for part in ("--against", write(f"old{n}.avsc", each))]
    done = run("check", write("new.avsc", new), *against, *(["--mode", mode] if mode else []), "--json")
    return done.exit_code, json.loads(done.stdout)


def test_a_compatible_schema_exits_with_0() -> None:
    """And the text says who goes first."""
    write("old.avsc", A)
    done = run("check", write("new.avsc", WITH_DEFAULT), "--against", "old.avsc", "--mode", "BACKWARD")

    assert (0, "") == (done.exit_code, done.stderr)
    assert "new.avsc is compatible under BACKWARD. Upgrade the consumers first" in done.stdout


def test_a_schema_that_is_not_compatible_exits_with_1() -> None:
    """Each problem has its path, its kind, the file that it is with, why, and a remedy."""
    write("old.avsc", of())
    done = run("check", write("new.avsc", of(("device", "string"))), "--against", "old.avsc")

    assert (1, "") == (done.exit_code, done.stderr)
    assert "new.avsc is not compatible under BACKWARD: 1 problem." in done.stdout
    assert "metadata.device  READER_FIELD_MISSING_DEFAULT_VALUE  against old.avsc" in done.stdout
    assert "→ Give device a default" in done.stdout
    assert "Without a change of the schema, FORWARD would allow it. Upgrade the producers first" in done.stdout


def test_json_has_the_verdict_only() -> None:
    """Its keys are a contract."""
    code, verdict = check(of(("device", "int")), of(("device", "string")))

    assert 1 == code
    assert {"compatible", "mode", "problems"} == verdict.keys()
    assert (False, "BACKWARD") == (verdict["compatible"], verdict["mode"])
    [problem] = verdict["problems"]
    assert {"path", "kind", "message", "against", "remedy"} == problem.keys()
    assert ("metadata.device", "TYPE_MISMATCH", 0) == (problem["path"], problem["kind"], problem["against"])


def test_json_of_a_compatible_schema() -> None:
    """There are no problems."""
    assert (0, {"compatible": True, "mode": "FULL", "problems": []}) == check(WITH_DEFAULT, A, mode="FULL")


@pytest.mark.parametrize(
    ("mode", "against"),
    [
        ("NONE", []),
        ("BACKWARD", [0]),
        ("BACKWARD_TRANSITIVE", [0, 2]),
        ("FORWARD", []),
        ("FORWARD_TRANSITIVE", []),
        ("FULL", [0]),
        ("FULL_TRANSITIVE", [0, 2]),
        ("backward_transitive", [0, 2]),
    ],
)
def test_against_is_the_index_of_the_option(mode: str, against: list[int]) -> None:
    """Levels that are not transitive look at the first only."""
    code, verdict = check(WITH_B, A, WITH_DEFAULT, A, mode=mode)

    assert against == [each["against"] for each in verdict["problems"]]
    assert (1 if against else 0) == code
    assert mode.upper() == verdict["mode"]


@pytest.mark.parametrize("case", UNUSABLE, ids=lambda case: case.name)
def test_unusable_input_exits_with_2(case: Unusable) -> None:
    """On either side; the message names the file, and nothing is on standard output."""
    write("good.avsc", A)
    write("bad.avsc", case.text)

    for new, old in (("bad.avsc", "good.avsc"), ("good.avsc", "bad.avsc")):
        done = run("check", new, "--against", old, "--json")
        assert (2, "") == (done.exit_code, done.stdout)
        assert done.stderr.startswith("Error: bad.avsc is not a usable schema: ")
        assert case.message in done.stderr


@pytest.mark.parametrize("mode", ["NONE", "BACKWARD"])
def test_all_schemas_must_be_usable(mode: str) -> None:
    """Also those that the level does not compare."""
    done = run("check", write("a.avsc", A), "--against", "a.avsc", "--against", "missing.avsc", "--mode", mode)

    assert (2, "") == (done.exit_code, done.stdout)
    assert "missing.avsc cannot be read: No such file or directory" in done.stderr


def test_a_folder_and_bytes_are_unusable(folder: Path) -> None:
    """They have messages of their own."""
    write("a.avsc", A)
    (folder / "bytes.avsc").write_bytes(b"\xff\xfe")

    assert (
        "is not text in UTF-8: invalid start byte at byte 0" in run("check", "a.avsc", "--against", "bytes.avsc").stderr
    )
    assert "cannot be read: Is a directory" in run("check", ".", "--against", "a.avsc").stderr


def test_a_byte_order_mark_is_ignored(folder: Path) -> None:
    """Some editors write one."""
    (folder / "a.avsc").write_text(json.dumps(A), encoding="utf-8-sig")

    assert 0 == run("check", "a.avsc", "--against", "a.avsc").exit_code


def test_schemas_that_cannot_be_compared_are_unusable() -> None:
    """Lists of several lengths in a circle, which need more of Python's stack than it has."""

    def chain(length: int) -> Any:
        inner: Any = ["null", "L"]
        for _ in range(length):
            inner = ["null", array(inner)]
        return record(("next", inner), name="L")

    write("a.avsc", chain(61))
    done = run("check", write("b.avsc", chain(59)), "--against", "a.avsc")

    assert done.exit_code in {0, 1, 2}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--against", "a.avsc", "--against-registry"],
        ["--against", "a.avsc", "--against-git", "HEAD"],
        ["--against", "a.avsc", "--subject", "s"],
        ["--against", "a.avsc", "--mode", "SIDEWAYS"],
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(arguments: list[str]) -> None:
    """One source of earlier schemas, and a known level."""
    done = run("check", write("a.avsc", A), *arguments)

    assert (2, "") == (done.exit_code, done.stdout)
    assert "Usage: " in done.stderr


def test_notes_are_not_part_of_the_verdict() -> None:
    """They go to standard error, so that standard output has JSON only."""
    old, new = (record(("d", logical("bytes", "decimal", precision=8, scale=scale))) for scale in (2, 3))
    write("old.avsc", old)
    done = run("check", write("new.avsc", new), "--against", "old.avsc", "--json")

    assert json.loads(done.stdout)["compatible"]
    assert "Note: d: the logical type changes from decimal(8, 2) to decimal(8, 3)" in done.stderr


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository whose first commit, tagged `one`, has the schema A in `schemas/a.avsc`."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    (folder / "schemas").mkdir()
    write("schemas/a.avsc", A)
    for command in ("init -q", "add .", "commit -q -m one", "tag one"):
        subprocess.run(["git", *command.split()], check=True, cwd=folder)
    return folder


def test_a_file_is_compared_with_its_revision(repository: Path) -> None:
    """Also from another working directory."""
    write("schemas/a.avsc", WITH_B)

    done = run("check", "schemas/a.avsc", "--against-git", "one")
    os.chdir("/")
    elsewhere = run("check", str(repository / "schemas/a.avsc"), "--against-git", "HEAD", "--json")

    assert 1 == done.exit_code
    assert "against schemas/a.avsc at one" in done.stdout
    assert ["b"] == [each["path"] for each in json.loads(elsewhere.stdout)["problems"]]


@pytest.mark.parametrize(
    ("path", "revision", "message"),
    [
        ("schemas/a.avsc", "two", "'two' is not a revision of the Git repository"),
        ("schemas/a.avsc", "-x", "'-x' is not a revision of Git"),
        ("schemas/b.avsc", "one", "schemas/b.avsc does not exist at one"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_what_git_does_not_have_is_unusable(path: str, revision: str, message: str) -> None:
    """The message says whether it is the revision or the file."""
    write("schemas/b.avsc", A)
    done = run("check", path, "--against-git", revision)

    assert (2, "") == (done.exit_code, done.stdout)
    assert message in done.stderr


def test_a_file_outside_of_git_is_unusable() -> None:
    """The message says so."""
    assert "a.avsc is not in a Git repository" in run("check", write("a.avsc", A), "--against-git", "HEAD").stderr


def test_git_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it."""
    monkeypatch.setenv("PATH", "")

    done = run("check", write("a.avsc", A), "--against-git", "HEAD")

    assert (2, "Error: --against-git needs the program git, which is not installed\n") == (done.exit_code, done.stderr)


def test_diff_shows_what_is_added_and_removed() -> None:
    """And which level allows the change."""
    done = run("diff", write("a.avsc", A), write("b.avsc", record(("b", "int", 1))))

    assert done.stdout.splitlines() == [
        "a.avsc → b.avsc",
        "  + b: int, default 1",
        "  - a: string",
        "The change is allowed under BACKWARD. Upgrade the consumers first, then the producers.",
    ]


def test_diff_of_equal_schemas() -> None:
    """There is no difference."""
    assert "no difference" in run("diff", write("a.avsc", A), "a.avsc").stdout


def test_diff_is_coloured_on_a_terminal_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added is green."""
    arguments = ["diff", write("a.avsc", A), write("b.avsc", WITH_B)]

    assert "\x1b[32m+ b: int" in CliRunner().invoke(schema.command, arguments, color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(schema.command, arguments, color=True).stdout


def test_diff_as_json() -> None:
    """Each change has path, kind, and text before and after."""
    done = run("diff", write("a.avsc", A), write("b.avsc", record(("a", "bytes"))), "--json")

    assert json.loads(done.stdout) == {
        "a": "a.avsc",
        "b": "b.avsc",
        "changes": [{"path": "a", "change": "type", "before": "string", "after": "bytes"}],
        "backward": True,
        "forward": True,
    }


def test_diff_of_unusable_input() -> None:
    """Exit code 2."""
    done = run("diff", write("a.avsc", A), write("b.avsc", "{"))

    assert (2, "") == (done.exit_code, done.stdout)
    assert "b.avsc is not a usable schema: it is not JSON" in done.stderr
