"""A proxy with TLS and basic authentication in front of the local schema registry, which has neither.

It runs as a process of its own: `python -m streamapp.local.secure_proxy PORT BEHIND CERTIFICATE USER PASSWORD_FILE`.
The arguments contain no secret.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import ssl
from hmac import compare_digest
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, hdrs, web

from streamapp.net import HOST

_TIMEOUT = ClientTimeout(total=30)
#: Headers that belong to one connection (RFC 9110, section 7.6.1), and those that this proxy handles.
_NOT_FORWARDED = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "authorization", "content-length"}
)


class Proxy:
    """Forwards the requests of one user to a server on this machine."""

    def __init__(self, behind: int, *, user: str, password: str) -> None:
        self._behind = f"http://{HOST}:{behind}"
        self._login = f"{user}:{password}".encode()
        self._session: ClientSession | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """Forward a request with the right user and password; answer others with 401."""
        if not compare_digest(_login_in(request.headers.get(hdrs.AUTHORIZATION, "")), self._login):
            return web.Response(status=401, headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="registry"'})
        self._session = self._session or ClientSession(timeout=_TIMEOUT, auto_decompress=False)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}
        try:
            async with self._session.request(
                request.method, self._behind + request.raw_path, headers=headers, data=await request.read()
            ) as found:
                kept = {name: value for name, value in found.headers.items() if name.lower() not in _NOT_FORWARDED}
                return web.Response(status=found.status, body=await found.read(), headers=kept)
        except (ClientError, TimeoutError):
            return web.Response(status=502, text="The schema registry does not answer.\n")

    async def close(self, *_: object) -> None:
        """Close the connections to the server."""
        if self._session is not None:
            await self._session.close()


def _login_in(authorization: str) -> bytes:
    scheme, _, given = authorization.partition(" ")
    try:
        return base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("behind", type=int)
    parser.add_argument("certificate", type=Path)
    parser.add_argument("user")
    parser.add_argument("password_file", type=Path)
    given = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(given.certificate)
    password = given.password_file.read_text("utf-8").strip()
    proxy = Proxy(given.behind, user=given.user, password=password)
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", proxy.answer)
    app.on_cleanup.append(proxy.close)
    web.run_app(app, host=HOST, port=given.port, ssl_context=context, print=lambda _: None, access_log=None)


if __name__ == "__main__":
    main()
