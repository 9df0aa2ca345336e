"""`streamapp dashboard`: serve the page."""

from __future__ import annotations

import errno
import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import click

from streamapp import settings
from streamapp.errors import SettingsError


@click.command("dashboard")
@click.option("--host", show_default="STREAMAPP_DASHBOARD_HOST", help="Address to serve the page on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    show_default="STREAMAPP_DASHBOARD_PORT",
    help="Port to serve the page on.",
)
def command(host: str | None, port: int | None) -> None:
    """Serve the dashboard until Ctrl-C."""
    try:
        known = settings.load()
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from None
    host, port = host or known.dashboard_host, port or known.dashboard_port
    _check_is_free(host, port)
    click.echo(f"dashboard at {page_url(host, port)} (Ctrl-C ends it)", err=True)
    # In place of this process, not below it: signals reach Streamlit itself, and nothing of Faust stays in memory.
    os.execv(sys.executable, arguments(host, port))  # noqa: S606 - no shell wanted


def arguments(host: str, port: int) -> list[str]:
    """Return the command line that serves the page."""
    flags = ["--server.address", host, "--server.port", str(port)]
    if not _is_loopback(host) and "STREAMLIT_SERVER_ALLOWED_HOSTS" not in os.environ:
        # Who serves the page to others reaches it by names that cannot be known here.
        flags += ["--server.allowedHosts", "*"]
    return [sys.executable, str(script()), *flags]


def script() -> Path:
    """Return the path of the page's script: the two packages lie side by side, in a checkout and installed."""
    return Path(__file__).resolve().parents[2] / "dashboard" / "serve.py"


def page_url(host: str, port: int) -> str:
    """Return the address to open in a browser."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - not bound, only named
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _check_is_free(host: str, port: int) -> None:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the server does it: a port that was left a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        raise _cannot_bind(exc, host, port) from None


def _cannot_bind(exc: OSError, host: str, port: int) -> click.UsageError:
    if exc.errno == errno.EADDRINUSE:
        return click.UsageError(f"port {port} on {host} is taken; choose another one with --port.")
    if exc.errno == errno.EACCES:
        return click.UsageError(f"port {port} is not allowed to this user; choose one above 1023 with --port.")
    return click.UsageError(f"{host} is not an address of this machine; choose another one with --host.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
