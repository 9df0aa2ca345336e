"""`streamapp up`: run a local Kafka, schema registry and MongoDB, alone or while a command runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from streamapp.commands.interrupts import Interrupted, Interrupts
from streamapp.commands.options import handle_errors, load_settings
from streamapp.local import children
from streamapp.local.backend import Backend
from streamapp.local.cluster_size import SIZES
from streamapp.settings import Settings, names_in_dotenv

USE_ELSEWHERE = "To use these servers in another terminal, export these variables there, or write them to a file .env."
_CHECK_EVERY_SECONDS = 0.5
_COMMAND_STOP_SECONDS = 10.0
_SIZES = click.Choice([str(size) for size in SIZES])


def _to_int(_: click.Context, __: click.Parameter, chosen: str | None) -> int | None:
    return int(chosen) if chosen else None


@click.command("up", context_settings={"allow_interspersed_args": False})
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this folder.  [default: a temporary folder, removed at the end]",
)
@click.option(
    "--brokers",
    type=_SIZES,
    callback=_to_int,
    help="Number of Kafka brokers.  [default: that of the data folder, else 1]",
)
@click.option(
    "--mongods",
    type=_SIZES,
    callback=_to_int,
    help="Number of members of MongoDB's replica set.  [default: as for --brokers]",
)
@click.option("--secure", is_flag=True, help="Require TLS and credentials, which are generated.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
@handle_errors
def command(
    *, data_dir: Path | None, brokers: int | None, mongods: int | None, secure: bool, cmd: tuple[str, ...]
) -> None:
    """Start a local Kafka, schema registry and MongoDB.

    Without CMD, print their addresses and run until Ctrl-C.

    With CMD, run it with the addresses in its environment (STREAMAPP_…), and exit with its exit code.

    With `--brokers 3 --mongods 3`, Kafka and MongoDB are clusters that survive the loss of one member.

    With `--secure`, all three servers require TLS and credentials; those are in files that only this user can read.
    """
    if cmd and not shutil.which(cmd[0]):
        message = f"The command {cmd[0]!r} was not found."
        raise click.UsageError(message)
    sys.exit(up(load_settings(), data_dir, cmd, brokers=brokers, mongods=mongods, secure=secure))


def up(  # noqa: PLR0913 - they are named
    settings: Settings,
    data_dir: Path | None,
    command: Sequence[str],
    *,
    brokers: int | None,
    mongods: int | None,
    secure: bool = False,
) -> int:
    """Run the backend until Ctrl-C, or while the command runs; return the exit code."""
    with Interrupts() as interrupts:
        try:
            with (
                data_folder(data_dir) as folder,
                running(folder, settings, brokers=brokers, mongods=mongods, secure=secure) as backend,
            ):
                return _run(command, backend, interrupts) if command else _serve(backend, interrupts)
        except Interrupted as exc:
            return report_interrupted(exc)


def report_interrupted(exc: Interrupted) -> int:
    """Print that the start was interrupted; return the exit code."""
    click.echo("\nInterrupted during the start. All processes have ended.", err=True)
    return exc.exit_code


@contextmanager
def data_folder(chosen: Path | None) -> Generator[Path]:
    """Yield the folder for the data: the chosen one, or a temporary one that is removed at the end."""
    if chosen:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="streamapp-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def running(
    folder: Path, settings: Settings, *, brokers: int | None = None, mongods: int | None = None, secure: bool = False
) -> Generator[Backend]:
    """Run the backend; print progress on stderr."""
    click.echo("Starting Kafka, the schema registry and MongoDB …", err=True)
    with Backend(folder, settings, brokers=brokers, mongods=mongods, secure=secure) as backend:
        for notice in (*backend.ports.notices(), *backend.member_addresses()):
            click.echo(notice, err=True)
        yield backend


def check_backend(backend: Backend) -> None:
    """Print which cluster members have ended since the last call; raise BackendError if too few are left."""
    for warning in backend.check():
        click.echo(warning, err=True)


def _serve(backend: Backend, interrupts: Interrupts) -> int:
    def print_addresses() -> None:
        for name, value in backend.addresses.printed(names_in_dotenv()).items():
            click.echo(f"{name}={value}")
        click.echo(f"\n{USE_ELSEWHERE}\nPress Ctrl-C to stop.", err=True)

    watch([partial(check_backend, backend)], interrupts, print_addresses)
    return 0


def watch(checks: Sequence[Callable[[], None]], interrupts: Interrupts, on_ready: Callable[[], None]) -> None:
    """Call `on_ready`, then the checks again and again until a signal arrives; a check raises if its process ended."""
    is_running = True

    def stop(_: int) -> None:
        nonlocal is_running
        is_running = False

    interrupts.pass_to(stop)
    on_ready()  # after pass_to: a script may send the signal as soon as it has read the output
    while is_running:
        for check in checks:
            check()
        time.sleep(_CHECK_EVERY_SECONDS)
    click.echo("\nStopping …", err=True)


def _run(command: Sequence[str], backend: Backend, interrupts: Interrupts) -> int:
    environ = backend.addresses.command_environment(os.environ)
    # In the process group of this command: a group of its own would be in the terminal's background. So Ctrl-C reaches
    # it from the terminal, and only other signals are passed on.
    process = children.start(command, signal.SIGTERM, env=environ)
    interrupts.pass_to(lambda number: None if number == signal.SIGINT else process.send_signal(number))
    try:
        return _exit_code(process, backend)
    finally:
        interrupts.ignore()
        stop(process)


def _exit_code(process: subprocess.Popen[bytes], backend: Backend) -> int:
    while True:
        try:
            code = process.wait(_CHECK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            check_backend(backend)
        else:
            return code if code >= 0 else 128 - code  # as a shell reports a signal


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to end; kill it after _COMMAND_STOP_SECONDS."""
    process.terminate()
    try:
        process.wait(_COMMAND_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
