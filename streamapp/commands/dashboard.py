"""`streamapp dashboard`: serve the dashboard with Streamlit."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import click

from streamapp.commands.options import load_settings


STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command("dashboard")
@click.option("--host", show_default="STREAMAPP_DASHBOARD_HOST", metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    show_default="STREAMAPP_DASHBOARD_PORT",
    help="Port to listen on.",
)
def command(host: str | None, port: int | None) -> None:
    """Serve the dashboard until Ctrl-C."""
    settings = load_settings()
    host, port = host or settings.dashboard_host, port or settings.dashboard_port
    _check_is_free(host, port)
    click.echo(f"The dashboard is at {page_url(host, port)}. Press Ctrl-C to stop.", err=True)
    # Replaces this process: signals reach Streamlit directly. They wait until dashboard/serve.py has its handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.execv(sys.executable, arguments(host, port))  # noqa: S606 - no shell wanted


def arguments(host: str, port: int) -> list[str]:
    """Return the command that serves the dashboard."""
    flags = ["--server.address", host, "--server.port", str(port)]
    if not _is_loopback(host) and "STREAMLIT_SERVER_ALLOWED_HOSTS" not in os.environ:
        # Other machines reach the page by host names that are unknown here.
        flags += ["--server.allowedHosts", "*"]
    return [sys.executable, str(script()), *flags]


def script() -> Path:
    """Return the path of the dashboard's script; its package is beside this one, in a checkout and installed."""
    return Path(__file__).resolve().parents[2] / "dashboard" / "serve.py"


def page_url(host: str, port: int) -> str:
    """Return the address to open in a browser."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - not bound, only replaced
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _check_is_free(host: str, port: int) -> None:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As Streamlit does: so a port whose last server has just ended counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        raise _cannot_bind(exc, host, port) from None


def _cannot_bind(exc: OSError, host: str, port: int) -> click.UsageError:
    if exc.errno == errno.EADDRINUSE:
        return click.UsageError(f"Port {port} on {host} is in use. Choose another port with --port.")
    if exc.errno == errno.EACCES:
        return click.UsageError(f"This user may not listen on port {port}. Choose a port above 1023 with --port.")
    return click.UsageError(f"{host} is not an address of this machine. Choose another address with --host.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
