"""Commands are imported when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamapp import commands


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_command_is_known_by_its_name(name: str) -> None:
    """It is called the same on Faust's command line, which does not import it to say so."""
    assert name == commands.load(name).name


def imported(statements: str, names: set[str]) -> str:
    """Return which of these modules a new process has after some statements."""
    code = f"import sys; {statements}; print({names} & {{*sys.modules}})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_commands_start_without_what_they_do_not_need() -> None:
    """Faust takes longer to import than most commands take to run."""
    loads = "; ".join(f"commands.load({name!r})" for name in commands.COMMANDS)

    assert imported(f"from streamapp import commands; {loads}", {"faust", "aiohttp", "pygments"}) == "set()\n"


def test_the_app_is_there_without_what_only_a_worker_needs() -> None:
    """Who asks for `--help` or the list of agents need not wait for it."""
    workers = {"bson", "confluent_kafka", "datasketches", "fastavro", "httpx", "prometheus_client", "pymongo"}

    assert imported("from streamapp import app", workers) == "set()\n"


@pytest.mark.parametrize("command", [["send-sample"], ["dlq", "replay"]], ids=" ".join)
@pytest.mark.parametrize("rate", ["1e-300", "0", "-1", "nan", "inf", "fast"])
def test_a_rate_that_is_none_is_wrong_usage(command: list[str], rate: str) -> None:
    """Before anything is asked or sent."""
    name, *rest = command

    done = CliRunner().invoke(commands.load(name), [*rest, "--rate", rate])

    assert done.exit_code == 2
    assert f"'--rate': '{rate}' is no number from 0.001 on" in done.stderr


def test_output_that_finds_no_room_is_told_in_a_sentence() -> None:
    """As with a full disk."""
    code = "import click; from streamapp.commands.options import told; click.command()(told(lambda: click.echo('x')))()"

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert (1, "Error: The output cannot be written: No space left on device\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"), [(["--help"], "name each fault"), (["dlq", "list", "--help"], "--since")]
)
def test_a_command_acts_as_if_it_had_been_imported(arguments: list[str], told: str) -> None:
    """Its options, its help, and its own commands."""
    group = click.Group("streamapp", commands={name: commands.LazyCommand(name) for name in commands.COMMANDS})

    done = CliRunner().invoke(group, arguments)

    assert done.exit_code == 0
    assert told in done.output


@pytest.mark.parametrize(
    "wrong",
    [
        ("--count", "0"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--v2-ratio", "1.5"),
        ("--start", "yesterday"),
        ("--seed", "x"),
        ("--faults", "corupt=0.1"),
    ],
)
def test_wrong_options_are_wrong_usage(wrong: tuple[str, str]) -> None:
    """And the option is named, before anything is asked of anybody."""
    done = CliRunner().invoke(commands.load("send-sample"), wrong)

    assert done.exit_code == 2
    assert wrong[0] in done.output
