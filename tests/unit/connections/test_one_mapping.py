"""Every client is built from the connections: one that is not would ignore TLS and credentials."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: Constructors of clients, and properties that only a client of Kafka takes.
CLIENTS = re.compile(
    r"\b(AdminClient|(?<!Batch)(?<!stock\.)Consumer|(?<!Bounded)(?<!stock\.)Producer|AIOKafka\w*|(Async)?MongoClient"
    r"|SchemaRegistryClient|httpx\.(Client|AsyncClient|get|post|request))(\[.*\])?\((?!Protocol|stock\.)"
    r"|\"bootstrap\.servers\""
)
#: Clients of other servers than Kafka, registry and MongoDB.
ALLOWED = {
    # reads /readyz of the worker on this machine
    ("streamapp/doctor/environment.py", "httpx.Client("),
    ("benchmarks/grow.py", "httpx.get("),
    ("benchmarks/start.py", "httpx.Client("),
    # registers a schema in the benchmark's own registry
    ("benchmarks/padded.py", "httpx.post("),
    # parses a connection string, and connects to nothing
    ("streamapp/settings/types.py", "MongoClient[dict[str, object]]("),
}


def test_no_client_is_built_elsewhere() -> None:
    """Neither in the pipeline, nor in the dashboard, nor in the benchmarks."""
    files = [file for folder in ("streamapp", "dashboard") for file in (ROOT / folder).rglob("*.py")]
    files += (ROOT / "benchmarks").glob("*.py")  # not the programs that streamapp is compared with
    found = {
        (file.relative_to(ROOT).as_posix(), match[0])
        for file in files
        if file.parent.name != "connections"
        for line in file.read_text("utf-8").splitlines()
        if not line.lstrip().startswith("class ")
        for match in CLIENTS.finditer(line)
    }

    assert ALLOWED == found
