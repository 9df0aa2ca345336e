"""A small OAuth server: the grant client_credentials, JWTs signed with RS256, and the key as a JWKS."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from streamapp.net import HOST

KEY_ID = "key-1"


def _encoded(data: bytes | Mapping[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TokenServer:
    """Serves /token and /jwks on the loopback address while it is open."""

    def __init__(self, *, client_id: str, client_secret: str, lifetime_seconds: float) -> None:
        self.client_id, self.client_secret, self.lifetime_seconds = client_id, client_secret, lifetime_seconds
        #: What each successful token request had in its form.
        self.requests: list[Mapping[str, list[str]]] = []
        self.refused = 0
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, subject: str, lifetime_seconds: float) -> str:
        """Return a signed token."""
        now = time.time()
        claims = {"sub": subject, "iat": int(now), "exp": now + lifetime_seconds, "scope": "kafka"}
        claims |= {"iss": self.url, "aud": "kafka"}
        signed = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': KEY_ID})}.{_encoded(claims)}"
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def jwks(self) -> Mapping[str, Any]:
        """Return the public key as a JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()

        def number(value: int) -> str:
            return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))

        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": KEY_ID,
            "n": number(numbers.n),
            "e": number(numbers.e),
        }
        return {"keys": [key]}


class _Handler(BaseHTTPRequestHandler):
    owner: TokenServer

    def do_GET(self) -> None:
        self._send(200, self.owner.jwks())

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(given).decode().partition(":") if scheme == "Basic" else ("", "", "")
        if (unquote(user), unquote(password)) != (self.owner.client_id, self.owner.client_secret):
            self.owner.refused += 1
            self._send(401, {"error": "invalid_client", "error_description": f"not {given}"})
            return
        self.owner.requests.append(form)
        lifetime = self.owner.lifetime_seconds
        body = {
            "access_token": self.owner.token(unquote(user), lifetime),
            "expires_in": lifetime,
            "token_type": "Bearer",
        }
        self._send(200, body)

    def log_message(self, *_: Any) -> None: ...

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
