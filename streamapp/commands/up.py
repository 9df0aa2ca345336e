"""`streamapp up`: a local Kafka, schema registry and MongoDB, on their own or around a command."""

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
from streamapp.commands.options import load_settings, told
from streamapp.local.backend import Backend
from streamapp.local.cluster_size import NUMBERS
from streamapp.local.process import die_with_parent
from streamapp.settings import Settings

_LOOK_EVERY_SECONDS = 0.5
_END_WITHIN_SECONDS = 10.0
_NUMBER = click.Choice([str(number) for number in NUMBERS])


def _as_number(_: click.Context, __: click.Parameter, chosen: str | None) -> int | None:
    return int(chosen) if chosen else None


@click.command("up", context_settings={"allow_interspersed_args": False})
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keeps the data there between runs.")
@click.option("--brokers", type=_NUMBER, callback=_as_number, help="Kafka brokers: 1, or what the data folder has.")
@click.option("--mongods", type=_NUMBER, callback=_as_number, help="Members of MongoDB's replica set, likewise.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
@told
def command(data_dir: Path | None, brokers: int | None, mongods: int | None, cmd: tuple[str, ...]) -> None:
    """Start a local Kafka, schema registry and MongoDB.

    With CMD, run it with their addresses in its environment, and exit with its exit code.
    Without CMD, print the addresses and run until Ctrl-C.

    With `--brokers 3 --mongods 3` they are clusters that survive the loss of a member.
    """
    if cmd and not shutil.which(cmd[0]):
        message = f"there is no command {cmd[0]!r}."
        raise click.UsageError(message)
    sys.exit(up(load_settings(), data_dir, cmd, brokers=brokers, mongods=mongods))


def up(
    settings: Settings, data_dir: Path | None, command: Sequence[str], *, brokers: int | None, mongods: int | None
) -> int:
    """Run the backend, and within it the command, if any; return the exit code."""
    with Interrupts() as interrupts:
        try:
            with (
                data_folder(data_dir) as folder,
                running(folder, settings, brokers=brokers, mongods=mongods) as backend,
            ):
                return _run(command, backend, interrupts) if command else _serve(backend, interrupts)
        except Interrupted as exc:
            return called_off(exc)


def called_off(exc: Interrupted) -> int:
    """Say that the start was called off; return the exit code."""
    click.echo("\ncalled off; nothing is left running", err=True)
    return exc.exit_code


@contextmanager
def data_folder(chosen: Path | None) -> Generator[Path]:
    """Give the folder for the data: the chosen one, or a temporary one that is removed at the end."""
    if chosen:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="streamapp-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def running(
    folder: Path, settings: Settings, *, brokers: int | None = None, mongods: int | None = None
) -> Generator[Backend]:
    """Run the backend, and say on stderr what it is doing."""
    click.echo("starting Kafka, the schema registry and MongoDB …", err=True)
    with Backend(folder, settings, brokers=brokers, mongods=mongods) as backend:
        for notice in (*backend.ports.notices(), *backend.members()):
            click.echo(notice, err=True)
        yield backend


def look_after(backend: Backend) -> None:
    """Say which members have ended while the others go on; raises BackendError if they cannot."""
    for complaint in backend.check():
        click.echo(complaint, err=True)


def _serve(backend: Backend, interrupts: Interrupts) -> int:
    def tell() -> None:
        for name, value in backend.addresses.environment().items():
            click.echo(f"{name}={value}")
        click.echo("running until Ctrl-C", err=True)

    watch([partial(look_after, backend)], interrupts, tell)
    return 0


def watch(checks: Sequence[Callable[[], None]], interrupts: Interrupts, tell: Callable[[], None]) -> None:
    """Tell that all runs, and look after it until a signal comes; each check raises when its process has ended."""
    wanted = True

    def end(_: int) -> None:
        nonlocal wanted
        wanted = False

    interrupts.pass_to(end)
    tell()  # whoever is told may send the signal at once
    while wanted:
        for check in checks:
            check()
        time.sleep(_LOOK_EVERY_SECONDS)


def _run(command: Sequence[str], backend: Backend, interrupts: Interrupts) -> int:
    environ = os.environ | backend.addresses.environment()
    # Its own process group would be in the terminal's background: it stays in ours, and gets Ctrl-C from the terminal.
    process = subprocess.Popen(die_with_parent(command, signal.SIGTERM), env=environ)
    interrupts.pass_to(lambda number: None if number == signal.SIGINT else process.send_signal(number))
    try:
        return _exit_code(process, backend)
    finally:
        interrupts.ignore()
        _end(process)


def _exit_code(process: subprocess.Popen[bytes], backend: Backend) -> int:
    while True:
        try:
            code = process.wait(_LOOK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            look_after(backend)
        else:
            return code if code >= 0 else 128 - code  # as a shell tells of a signal


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
