"""The dashboard behind a real nginx, below a path, with the configuration of the how-to guide."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.until import until

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-the-dashboard.md"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
HOST = "page.example.com"
COMMAND = [sys.executable, "-c", "from streamapp.commands.dashboard import command; command()"]
CONFIGURATION = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve the page without a MongoDB, and nginx in front of it; yield the port of nginx."""
    folder = tmp_path_factory.mktemp("proxy")
    page, front = _free_port(), _free_port()
    settings = {"ALLOWED_HOSTS": HOST, "BASE_PATH": "/streamapp", "PORT": str(page)}
    environ = {**os.environ, **{f"STREAMAPP_DASHBOARD_{name}": value for name, value in settings.items()}}
    environ["STREAMAPP_MONGO_URI"] = f"mongodb://127.0.0.1:{_free_port()}/?directConnection=true"
    (location,) = re.findall(r"```nginx\n(.+?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    location = location.replace("127.0.0.1:8501", f"127.0.0.1:{page}")
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=front, location=location), "utf-8")
    nginx = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with _running(COMMAND, environ, folder / "page.log"), _running(nginx, environ, folder / "nginx.log"):
        until(lambda: _get(front, "/streamapp/_stcore/health")[0] == 200, within=60, what="the page behind nginx")
        yield front


def test_page_and_its_files_are_below_the_path(proxy: int) -> None:
    """The page names its files below the path, and /readyz is there too."""
    status, page = _get(proxy, "/streamapp/")
    assert 200 == status
    scripts = re.findall(r'src="([^"]+\.js)"', page)

    assert scripts
    for script in scripts:
        assert 200 == _get(proxy, f"/streamapp/{script.removeprefix('./').removeprefix('/streamapp/')}")[0]
    assert (503, True) == (_get(proxy, "/streamapp/readyz")[0], '"ready":false' in _get(proxy, "/streamapp/readyz")[1])


@pytest.mark.parametrize(("host", "status"), [(HOST, 101), ("localhost", 101), ("attacker.example", 403)])
def test_data_is_given_under_the_names_of_the_setting_only(proxy: int, host: str, status: int) -> None:
    """The WebSocket that carries the data is refused under another name."""
    assert status == _websocket(proxy, host)


def test_browser_shows_the_page(proxy: int, tab: Page) -> None:
    """Chromium gets the page and its data through nginx: here, that MongoDB does not answer."""
    tab.goto(f"http://localhost:{proxy}/streamapp/")

    expect(tab.get_by_role("alert").filter(has_text="MongoDB").first).to_be_visible(timeout=180_000)


@contextmanager
def _running(command: list[str], environ: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=log.parent, env=environ, stdout=output, stderr=output)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(80)


def _get(port: int, path: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": HOST})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()
    except OSError:
        return 0, ""


def _websocket(port: int, host: str) -> int:
    """Return the status of the answer to a WebSocket's handshake of a browser at that host."""
    headers = {
        "Host": host,
        "Origin": f"http://{host}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }
    lines = ["GET /streamapp/_stcore/stream HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(connection.recv(1024).split()[1])


def _free_port() -> int:
    # Not from the range of outgoing connections: one that keeps trying could connect to itself, and keep the port.
    for port in random.sample(range(15_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail("no free port")
