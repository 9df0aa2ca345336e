"""A schema registry as a server whose versions and ids a test sets, with Confluent's API."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RegistrySubject:
    """The versions of one subject: their ids and schemas, the first one is version 1."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.versions: list[tuple[int, Any]] = []
        self.url = ""
        #: The paths of the requests.
        self.requested: list[str] = []

    def answer(self, path: str) -> Any:
        """Return the answer to a request; None for 404."""
        self.requested.append(path)
        match path.partition("?")[0].strip("/").split("/"):
            case ["subjects"]:
                return [self.subject]
            case ["subjects", self.subject, "versions"]:
                return [number for number, _ in enumerate(self.versions, 1)] or None
            case ["subjects", self.subject, "versions", number] if self.versions:
                return self._version(len(self.versions) if number == "latest" else int(number))
            case ["schemas", "ids", schema_id, *more]:
                found = [number for number, (id_, _) in enumerate(self.versions, 1) if id_ == int(schema_id)]
                if more:
                    return [{"subject": self.subject, "version": number} for number in found] or None
                return {"schema": self._version(found[0])["schema"]} if found else None
            case _:
                return None

    def _version(self, number: int) -> Any:
        schema_id, schema = self.versions[number - 1]
        return {"subject": self.subject, "version": number, "id": schema_id, "schema": json.dumps(schema)}


@contextmanager
def serving(subject: RegistrySubject) -> Generator[RegistrySubject]:
    """Serve a subject."""

    class Handler(BaseHTTPRequestHandler):
        """Answers from the subject."""

        def do_GET(self) -> None:
            """Answer."""
            found = subject.answer(self.path)
            body = json.dumps({"error_code": 40403} if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    subject.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield subject
    finally:
        server.shutdown()
        server.server_close()
