"""The HTTP server of /healthz, /readyz and /metrics: what clients with bad intentions can do to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

import streamapp
from streamapp import net
from streamapp.worker.web import BoundedRunner, host_of

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSED = b""


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _broken(_: web.Request) -> web.Response:
    raise KeyError("a fault of the page")


@asynccontextmanager
async def serving(**values: Any) -> AsyncGenerator[int]:
    """Serve /healthz and a page that fails; yield the port."""
    app = web.Application()
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/broken", _broken)
    runner = BoundedRunner(app, **{"allowed_hosts": (), **values})
    await runner.setup()
    try:
        site = web.TCPSite(runner, net.HOST, 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _ask(port: int, request: bytes) -> bytes:
    """Send a request, and return everything that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection(net.HOST, port)
    writer.write(request)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return CLOSED
    finally:
        writer.close()


def answer(request: bytes, **values: Any) -> bytes:
    """Return the answer of a new server to a request."""

    async def asked() -> bytes:
        async with serving(**values) as port:
            return await _ask(port, request)

    return asyncio.run(asked())


def _get(host: str, path: str = "/healthz") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02SECRET\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"GET / HTTP/9.SECRET\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nSECRET\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"SECRET" * 4_000 + b"\r\n\r\n",
        b"GET /" + b"SECRET" * 4_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: SECRET\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n",
        b"GET http://[SECRET/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET + b"SECRET\x00\r\n\r\n",
    ],
)
def test_a_malformed_request_costs_one_quiet_line_at_most(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Its bytes are neither in the log nor in the answer."""
    with caplog.at_level(logging.DEBUG):
        answered = answer(request_)

    noted = [record for record in caplog.records if record.name != "asyncio"]
    assert len(noted) <= 1
    assert all(record.levelno <= logging.INFO and record.exc_info is None for record in noted)
    assert "SECRET" not in caplog.text + answered.decode("latin-1")
    assert b"400 Bad Request" in answered


def test_a_fault_of_a_page_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """It is not the client's fault."""
    assert b"500 Internal Server Error" in answer(_get("localhost", "/broken"))
    assert "a fault of the page" in caplog.text


@pytest.mark.parametrize(
    "request_", [_get("localhost"), _get("localhost", "/none"), _get("evil.example"), b"A\r\n\r\n"]
)
def test_no_answer_names_the_server(request_: bytes) -> None:
    """Neither Python's version nor aiohttp's."""
    answered = answer(request_).lower()

    assert b"http/1." in answered
    assert b"server:" not in answered
    assert b"aiohttp" not in answered


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HT", GET, b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na"]
)
def test_a_slow_client_is_disconnected(sent: bytes) -> None:
    """Whether it sends nothing, half a request, no second request or half a body."""
    answered = answer(sent, request_seconds=0.2)

    assert answered == CLOSED or answered.count(b"HTTP/1.1") == 1


def test_a_client_that_reads_no_answers_is_disconnected() -> None:
    """The answers fill the buffers, and the server waits for the client."""

    async def sent() -> None:
        async with serving(request_seconds=0.2) as port:
            _, writer = await asyncio.open_connection(net.HOST, port, limit=1)
            while True:
                writer.write(GET * 1_000)
                await writer.drain()

    with pytest.raises(ConnectionError):
        asyncio.run(asyncio.wait_for(sent(), 30))


def test_idle_connections_do_not_keep_others_out() -> None:
    """The connection that has waited longest is closed."""

    async def asked() -> tuple[bytes, bytes]:
        async with serving(max_connections=3) as port:
            idle = [await asyncio.open_connection(net.HOST, port) for _ in range(20)]
            answered = await _ask(port, _get("localhost"))
            async with asyncio.timeout(20):
                first = await idle[0][0].read()
            for _, writer in idle:
                writer.close()
            return answered, first

    answered, first = asyncio.run(asked())

    assert answered.startswith(b"HTTP/1.1 200 OK")
    assert first == CLOSED


@pytest.mark.parametrize(
    ("host", "allowed", "status"),
    [
        ("127.0.0.1:6066", (), 200),
        ("LocalHost.:6066", (), 200),
        ("[::1]:6066", (), 200),
        ("evil.example:6066", (), 421),
        ("127.0.0.1.evil.example", (), 421),
        ("10.0.0.1", (), 421),
        ("worker:6066", ("Worker",), 200),
        ("evil.example", ("*",), 200),
    ],
)
def test_only_allowed_hosts_get_an_answer(host: str, allowed: Sequence[str], status: int) -> None:
    """A web page whose name leads to this machine cannot read the pages."""
    assert answer(_get(host), allowed_hosts=allowed).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_without_a_host_gets_an_answer() -> None:
    """Some health checks use HTTP/1.0; browsers always send a host."""
    assert answer(b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 OK")


@pytest.mark.parametrize(
    ("authority", "host"), [("A.example.:80", "a.example"), ("[2001:DB8::1]:80", "2001:db8::1"), ("", "")]
)
def test_host_of_a_header(authority: str, host: str) -> None:
    """Without port, brackets and final dot."""
    assert host == host_of(authority)


def test_pages_of_faust_are_off() -> None:
    """The worker serves its own three pages only."""
    pages: Any = streamapp.app.web
    pages.init_server()

    paths = {resource.canonical for resource in pages.web_app.router.resources()}
    assert {"/healthz", "/readyz", "/metrics"} == {path.rstrip("/") for path in paths}


def test_a_page_needs_the_token() -> None:
    """Without it, the answer is 401 and says which setting has it; the health page is open."""
    page = b"GET /broken HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

    assert answer(page + b"\r\n", token="t").startswith(b"HTTP/1.1 401 ")
    assert b"STREAMAPP_WEB_TOKEN" in answer(page + b"\r\n", token="t")
    assert answer(page + b"Authorization: Bearer t\r\n\r\n", token="t").startswith(b"HTTP/1.1 500 ")
    assert answer(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), token="t").startswith(b"HTTP/1.1 200 ")
