"""Commands are imported when they are used, and check their options first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import httpx
import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from streamapp import commands
from streamapp.commands.options import handle_errors
from streamapp.kafka.faults import failure
from streamapp.mongodb.client import translate_errors
from tests.support.registry_stub import client_answered_by


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_command_is_known_by_its_name(name: str) -> None:
    """Faust's command line lists it without importing it."""
    assert name == commands.load(name).name


def imported(statements: str, names: set[str]) -> str:
    """Return which of these modules a new process has imported after some statements."""
    code = f"import sys; {statements}; print({names} & {{*sys.modules}})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_commands_import_neither_faust_nor_other_slow_libraries() -> None:
    """The import of Faust takes longer than most commands take to run."""
    loads = "; ".join(f"commands.load({name!r})" for name in commands.COMMANDS)

    assert imported(f"from streamapp import commands; {loads}", {"faust", "aiohttp", "pygments"}) == "set()\n"


def test_the_app_imports_no_library_that_only_a_running_worker_needs() -> None:
    """So that `streamapp agents` and other commands of Faust start fast."""
    workers = {"bson", "confluent_kafka", "datasketches", "fastavro", "httpx", "prometheus_client", "pymongo"}

    assert imported("from streamapp import app", workers) == "set()\n"


@pytest.mark.parametrize("command", [["send-sample"], ["dlq", "replay"]], ids=" ".join)
@pytest.mark.parametrize("rate", ["1e-300", "0", "-1", "nan", "inf", "fast"])
def test_an_invalid_rate_is_wrong_usage(command: list[str], rate: str) -> None:
    """Before any server is contacted."""
    name, *rest = command

    done = CliRunner().invoke(commands.load(name), [*rest, "--rate", rate])

    assert done.exit_code == 2
    assert f"'--rate': '{rate}' is not a number of at least 0.001" in done.stderr


def test_output_to_a_full_disk_is_an_error_without_a_traceback() -> None:
    """`/dev/full` refuses each write."""
    code = (
        "import click; from streamapp.commands.options import handle_errors\n"
        "click.command()(handle_errors(lambda: click.echo('x')))()"
    )

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert (1, "Error: The output cannot be written: No space left on device\n") == (done.returncode, done.stderr)


def raising(error: Exception) -> Callable[[], NoReturn]:
    """Return a function that raises this error."""

    def fail() -> NoReturn:
        raise error

    return fail


def of_kafka(code: int) -> Callable[[], NoReturn]:
    """Return a function that raises what a command raises for an error of Kafka."""
    return raising(failure("127.0.0.1:9092", KafkaError(code)))


def of_registry(answer: httpx.Response | httpx.HTTPError) -> Callable[[], object]:
    """Return a function that asks a registry that answers so."""

    def request(*_: object, **__: object) -> httpx.Response:
        if isinstance(answer, httpx.Response):
            return answer
        raise answer

    return lambda: asyncio.run(client_answered_by(request).look_up(5))


def of_mongodb(error: PyMongoError) -> Callable[[], object]:
    """Return a function that raises what a command raises for an error of MongoDB."""
    return lambda: translate_errors(raising(error))


@pytest.mark.parametrize(
    ("work", "is_asked"),
    [
        (of_kafka(KafkaError._TRANSPORT), True),
        (of_kafka(KafkaError.TOPIC_AUTHORIZATION_FAILED), False),
        (of_registry(httpx.ConnectError("refused")), True),
        (of_registry(httpx.Response(404, text="not found")), False),
        (of_registry(httpx.Response(401, json={})), False),
        (of_registry(httpx.Response(200, text="<html>")), False),
        (of_mongodb(ServerSelectionTimeoutError("refused")), True),
        (of_mongodb(OperationFailure("Authentication failed.", 18)), False),
    ],
    ids=["kafka", "rights", "registry", "path", "user", "other server", "mongodb", "password"],
)
def test_a_user_is_asked_whether_a_server_runs_only_if_it_does_not_answer(
    work: Callable[[], object], is_asked: bool
) -> None:
    """The answer of a server says what is wrong."""
    done = CliRunner().invoke(click.command()(handle_errors(lambda: click.echo(work()))))

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert is_asked == ("Is it running?" in done.stderr)


@pytest.mark.parametrize("command", ["send-sample", "verify"])
@pytest.mark.parametrize("flag", ["--manifest", "--ledger"])
def test_a_file_that_is_not_a_manifest_is_wrong_usage(command: str, flag: str, tmp_path: Path) -> None:
    """--ledger is the old name of the flag."""
    path = tmp_path / "sent.jsonl"
    path.write_text("{}", encoding="utf-8")

    done = CliRunner().invoke(commands.load(command), [flag, str(path)])

    assert done.exit_code == 2
    assert f"{path}: line 1 is not a line of" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--help"], "name each fault"), (["dlq", "list", "--help"], "--since")]
)
def test_a_lazy_command_behaves_as_the_imported_one(arguments: list[str], words: str) -> None:
    """Its options, its help and its subcommands."""
    group = click.Group("streamapp", commands={name: commands.LazyCommand(name) for name in commands.COMMANDS})

    done = CliRunner().invoke(group, arguments)

    assert done.exit_code == 0
    assert words in done.output


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
    """The message names the option, before any server is contacted."""
    done = CliRunner().invoke(commands.load("send-sample"), wrong)

    assert done.exit_code == 2
    assert wrong[0] in done.output
