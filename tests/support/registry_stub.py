"""A RegistryClient whose HTTP requests a function answers: the code under test is real, no server runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from streamapp.connections.registry import RegistryConnection
from streamapp.registry.client import RegistryClient

URL = "http://registry"
SUBJECT = "user_events-value"

Answer = tuple[int, Any]


def client_answered_by(request: Callable[..., httpx.Response]) -> RegistryClient:
    """Return a client for SUBJECT, with this function in place of HTTP."""
    client = RegistryClient(RegistryConnection(url=URL), SUBJECT)
    client._client.request = request
    return client


def without_any_id(requested: list[str]) -> Callable[..., httpx.Response]:
    """Return a request function that knows no schema id, and appends each URL to `requested`."""

    def request(url: str, **_: Any) -> httpx.Response:
        requested.append(url)
        return httpx.Response(404, json={"error_code": 40403})

    return request


class Confluent:
    """Answers as Confluent's registry does: a subject has no compatibility level until one is set."""

    def __init__(self) -> None:
        self.versions: list[dict[str, Any]] = []
        self.level: str | None = None
        self.requested: list[str] = []

    def __call__(self, url: str, method: str = "GET", body: Any = None, **_: Any) -> httpx.Response:
        path = url.removeprefix(f"{URL}/")
        self.requested.append(f"{method} {path}")
        status, answer = self.answer(f"{method} {path.split('/')[0]}", path.split("/"), body)
        return httpx.Response(status, json=answer)

    def answer(self, call: str, parts: list[str], body: Any) -> Answer:
        """Answer one request."""
        match call, len(parts):
            case "GET config", _:
                return (200, {"compatibilityLevel": self.level}) if self.level else (404, {"error_code": 40408})
            case "PUT config", _:
                self.level = body["compatibility"]
                return 200, body
            case "GET subjects", 3:
                numbers = [version["version"] for version in self.versions]
                return (200, numbers) if numbers else (404, {"error_code": 40401})
            case "GET subjects", 4 if self.versions:
                return 200, self.versions[-1 if parts[3] == "latest" else int(parts[3]) - 1]
            case "POST subjects", 3:
                number = len(self.versions) + 1
                self.versions.append({"id": 100 + number, "version": number, "schema": body["schema"]})
                return 200, {"id": 100 + number}
            case _:
                return 404, {"error_code": 40403}
