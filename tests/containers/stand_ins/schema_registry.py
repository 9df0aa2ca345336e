#!/usr/local/bin/python
"""Apicurio Registry with its Confluent API at /, as the image cp-schema-registry has it.

It keeps its schemas in memory and in the container, not in Kafka as the real one does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PORT = 18081
PREFIX = "/apis/ccompat/v7"


class Forwarder(BaseHTTPRequestHandler):
    """Forwards each request to Apicurio, below its path."""

    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        """Forward one request and its answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            connection = HTTPConnection("127.0.0.1", PORT, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name != "Accept-Encoding"}
            connection.request(self.command, PREFIX + self.path, body, headers)
            answer = connection.getresponse()
            status, content, kind = answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except OSError as exc:
            status, content, kind = 503, str(exc).encode(), "text/plain"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = forward  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of http.server
        """Log nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    listener = urlsplit(os.environ["SCHEMA_REGISTRY_LISTENERS"])
    environ = os.environ | {
        "APICURIO_DATASOURCE_URL": "jdbc:h2:file:/tmp/schemas",
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(PORT),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
    }
    heap = os.environ.get("SCHEMA_REGISTRY_HEAP_OPTS", "").split()
    command = [os.environ["JAVA"], "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *heap, "-jar", "quarkus-run.jar"]
    registry = subprocess.Popen(command, cwd="/opt/apicurio", env=environ)

    def stop(*_: object) -> None:
        registry.terminate()
        sys.exit(registry.wait())

    signal.signal(signal.SIGTERM, stop)
    ThreadingHTTPServer((str(listener.hostname), int(listener.port or 8081)), Forwarder).serve_forever()


if __name__ == "__main__":
    main()
