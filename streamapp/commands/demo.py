"""`streamapp demo`: run a local backend, a worker with its sample producer, and the dashboard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import click

from streamapp import net
from streamapp.commands import dashboard, up
from streamapp.commands import scenario as scenario_command
from streamapp.commands.interrupts import Interrupted, Interrupts
from streamapp.commands.options import handle_errors, load_settings
from streamapp.local import children
from streamapp.local.backend import Backend
from streamapp.local.listener import PortReservations
from streamapp.local.ports import choose_port, port_notice
from streamapp.local.process import Server
from streamapp.settings import Settings, names_in_dotenv

#: Sample events of the day before the start, so that the first look at the page shows charts.
HISTORY = ("--over", "24h", "--count", "20000")


@click.command("demo")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this folder.  [default: a temporary folder, removed at the end]",
)
@click.option(
    "--scenario", metavar="NAME", help="Play this scenario, see `streamapp scenario list`, once all is ready."
)
@handle_errors
def command(*, data_dir: Path | None, scenario: str | None) -> None:
    """Start a local Kafka, schema registry and MongoDB, a worker and the dashboard; run until Ctrl-C."""
    if scenario is not None:
        scenario_command.check_name(scenario)
    settings = load_settings()
    with Interrupts() as interrupts:
        try:
            with ExitStack() as stack:
                _run(stack, data_dir, scenario, settings, interrupts)
        except Interrupted as exc:
            sys.exit(up.report_interrupted(exc))
    click.echo("Stopped. All processes have ended.", err=True)


def _run(
    stack: ExitStack, data_dir: Path | None, scenario: str | None, settings: Settings, interrupts: Interrupts
) -> None:
    is_new = data_dir is None or not data_dir.exists() or not any(data_dir.iterdir())
    folder = stack.enter_context(up.data_folder(data_dir))
    backend = stack.enter_context(up.running(folder, settings))
    reservations = stack.enter_context(PortReservations())
    worker_port = _port(settings.web_port, "The worker's health and metrics pages", reservations)
    page_port = _port(settings.dashboard_port, "The dashboard", reservations)
    servers = [_worker(backend, folder, worker_port), _dashboard(backend, folder, page_port)]
    click.echo("Starting the worker and the dashboard …", err=True)
    for server in servers:
        stack.callback(server.stop)
        server.launch()
    for server in servers:
        server.wait_until_ready()
    if is_new:
        _send_history(backend)
    checks = [partial(up.check_backend, backend), *(server.check for server in servers)]

    def on_ready() -> None:
        _print_addresses(backend, worker_port, page_port)
        if scenario is not None:
            _play(stack, scenario, backend)

    up.watch(checks, interrupts, on_ready)


def _play(stack: ExitStack, scenario: str, backend: Backend) -> None:
    """Start the scenario, which has the terminal; end it with the demo."""
    command = [sys.executable, "-m", "streamapp", "scenario", "run", scenario, "--yes"]
    process = children.start(command, signal.SIGTERM, env=backend.addresses.command_environment(os.environ))
    stack.callback(up.stop, process)


def _send_history(backend: Backend) -> None:
    click.echo("Sending sample events of the last 24 hours …", err=True)
    command = [sys.executable, "-m", "streamapp", "send-sample", *HISTORY]
    environ = backend.addresses.command_environment(os.environ)
    sent = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if sent.returncode:
        click.echo(f"They were not sent: {sent.stderr.strip()}", err=True)
    else:
        click.echo("All events on the page are sample data.", err=True)


def _print_addresses(backend: Backend, worker_port: int, page_port: int) -> None:
    click.echo(f"dashboard  {dashboard.page_url(net.HOST, page_port)}")
    click.echo(f"worker     http://{net.HOST}:{worker_port}/readyz")
    for name, value in backend.addresses.printed(names_in_dotenv()).items():
        click.echo(f"{name}={value}")
    click.echo(f"\n{up.USE_ELSEWHERE}\nOpen the dashboard's address in a browser. Press Ctrl-C to stop.", err=True)


def _worker(backend: Backend, folder: Path, port: int) -> Server:
    return Server(
        name="The worker",
        command=[sys.executable, "-m", "streamapp", "worker", "--web-port", str(port), "--web-bind", net.HOST],
        log=folder / "worker.log",
        port=port,
        answers=lambda: _answers(f"http://{net.HOST}:{port}/readyz"),
        environ=backend.addresses.additions(os.environ),
    )


def _dashboard(backend: Backend, folder: Path, port: int) -> Server:
    return Server(
        name="The dashboard",
        command=dashboard.arguments(net.HOST, port),
        log=folder / "dashboard.log",
        port=port,
        answers=lambda: _answers(f"http://{net.HOST}:{port}/_stcore/health"),
        environ=backend.addresses.additions(os.environ),
    )


def _port(usual: int, server: str, reservations: PortReservations) -> int:
    port = choose_port(usual, reserve=reservations.reserve)
    if port != usual:
        click.echo(port_notice(server, usual, port), err=True)
    return port


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 - our own http addresses
            return response.status == 200  # noqa: PLR2004 - HTTP's OK
    except (URLError, OSError):
        return False
