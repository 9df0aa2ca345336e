"""`streamapp dashboard`: serve the dashboard with Streamlit."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

import click

from streamapp.commands.options import load_settings
from streamapp.settings import Settings
from streamapp.settings.types import MAX_PORT

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
#: Host names that only this machine can use.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Variables of Streamlit for which there are settings too; the settings win.
ADDRESS, PORT = "STREAMLIT_SERVER_ADDRESS", "STREAMLIT_SERVER_PORT"
ALLOWED_HOSTS, BASE_PATH = "STREAMLIT_SERVER_ALLOWED_HOSTS", "STREAMLIT_SERVER_BASE_URL_PATH"


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
    _check_is_installed()
    host, port = host or _host(settings), port or _port(settings)
    _check_is_free(host, port)
    base_path = (settings.dashboard_base_path or os.environ.get(BASE_PATH) or "").strip("/")
    click.echo(f"The dashboard is at {page_url(host, port, base_path)}. Press Ctrl-C to stop.", err=True)
    # Replaces this process: signals reach Streamlit directly. They wait until dashboard/serve.py has its handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    command = arguments(host, port, base_path=base_path, allowed_hosts=settings.dashboard_allowed_hosts)
    os.execv(sys.executable, command)  # noqa: S606 - no shell wanted


def arguments(host: str, port: int, *, base_path: str = "", allowed_hosts: str | None = None) -> list[str]:
    """Return the command that serves the dashboard; Streamlit prefers its flags to its variables."""
    flags = ["--server.address", host, "--server.port", str(port)]
    if base_path:
        flags += ["--server.baseUrlPath", base_path]
    for name in _allowed(host, allowed_hosts):
        flags += ["--server.allowedHosts", name]
    return [sys.executable, str(script()), *flags]


def _allowed(host: str, allowed_hosts: str | None) -> list[str]:
    """Return the host names for which the page answers; none leaves the choice to Streamlit's configuration."""
    if allowed_hosts:
        return [*dict.fromkeys([*allowed_hosts.split(","), *LOOPBACK])]
    if _is_loopback(host) or ALLOWED_HOSTS in os.environ:
        return []
    return ["*"]  # other machines reach the page by host names that are unknown here


def _host(settings: Settings) -> str:
    is_set = "dashboard_host" in settings.model_fields_set
    return settings.dashboard_host if is_set else os.environ.get(ADDRESS) or settings.dashboard_host


def _port(settings: Settings) -> int:
    given = os.environ.get(PORT)
    if "dashboard_port" in settings.model_fields_set or not given:
        return settings.dashboard_port
    if not given.isdecimal() or not 1 <= int(given) <= MAX_PORT:
        raise click.UsageError(f"{PORT} is invalid: '{given}' is not a number from 1 to {MAX_PORT}.")
    return int(given)


def _check_is_installed() -> None:
    if find_spec("streamlit") is None:
        raise click.UsageError(
            "Streamlit is not installed here. The dashboard has an image of its own, streamapp-dashboard"
            " (`docker build --target dashboard`). Elsewhere: pip install streamlit plotly"
        )


def script() -> Path:
    """Return the path of the dashboard's script; its package is beside this one, in a checkout and installed."""
    return Path(__file__).resolve().parents[2] / "dashboard" / "serve.py"


def page_url(host: str, port: int, base_path: str = "") -> str:
    """Return the address to open in a browser."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - not bound, only replaced
    address = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    return f"{address}/{base_path}" if base_path else address


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
