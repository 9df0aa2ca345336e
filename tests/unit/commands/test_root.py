"""`streamapp --help` and `--version`."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import streamapp
from streamapp import commands
from streamapp.commands import root, schema


def output(*command: str) -> str:
    """Return what a Python command prints."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    return done.stdout


def listed(text: str) -> str:
    """Return the groups of commands in a help text."""
    return text[text.index("Run:") : text.index("Options:")]


def test_help_lists_the_commands_by_group_before_the_options() -> None:
    """Faust's own commands come last; hidden ones are not listed."""
    groups = listed(CliRunner().invoke(root.new_root("1.2.3"), ["--help"]).output)

    titles = [line for line in groups.splitlines() if line.endswith(":")]
    names = [line.split()[0] for line in groups.splitlines() if line.startswith("  ")]
    assert ["Run:", "Data:", "Operate:", "Faust:"] == titles
    ours = [
        "worker",
        "up",
        "demo",
        "dashboard",
        "send-sample",
        "dlq",
        "verify",
        "explain",
        "schema",
        "scenario",
        "doctor",
        "rollups",
        "rewind",
    ]
    assert names == [*ours, *root.FAUST_COMMANDS]


def test_each_command_has_one_line_of_help() -> None:
    """A longer text would wrap on a terminal of 80 columns."""
    texts = [text for group in (*commands.GROUPS.values(), root.FAUST_COMMANDS) for text in group.values()]

    assert [] == [text for text in texts if len(text) > 63]


def test_the_help_of_schema_names_its_commands() -> None:
    """Each of them, and no other."""
    words = {"check": "Check", "diff": "compare", "list": "list", "register": "register", "migrate": "migrate"}
    *first, last = (words[name] for name in schema.command.commands)

    assert f"{', '.join(first)} and {last} Avro schemas." == schema.command.help
    assert schema.command.help == commands.GROUPS["Data"]["schema"]


def test_faust_shows_the_same_commands() -> None:
    """`faust -A streamapp --help` differs in the options only."""
    assert listed(output("streamapp", "--help")) == listed(output("faust", "-A", "streamapp", "--help"))


def test_only_commands_that_are_listed_are_completed() -> None:
    """Shells do not offer hidden commands."""
    faust = click.Group(commands={name: click.Command(name) for name in ("send", "tables", "worker")})

    root.extend(faust)

    assert ["tables"] == [name for name, command in faust.commands.items() if command.hidden]


def test_the_help_of_worker_names_its_pages() -> None:
    """Faust's own text does not."""
    assert "/readyz" in output("streamapp", "worker", "--help")


def test_a_hidden_command_of_faust_can_be_called() -> None:
    assert "Tables" in output("streamapp", "tables")


def test_version_is_that_of_streamapp() -> None:
    assert f"streamapp {streamapp.__version__}\n" == output("streamapp", "--version")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]], ids=["none", "help", "version"])
def test_help_and_version_import_neither_faust_nor_settings(arguments: list[str]) -> None:
    """They answer in a fraction of a second, also where a setting is wrong."""
    code = (
        "import sys; from streamapp.__main__ import main\n"
        f"sys.argv = ['streamapp', *{arguments}]\n"
        "try: main()\n"
        "except SystemExit: print({'faust', 'pydantic', 'rich'} & {*sys.modules})"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).endswith("set()\n")
