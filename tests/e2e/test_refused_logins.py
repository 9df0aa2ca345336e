"""Every command names a refused login as what it is, for each server that it uses."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streamapp.local.backend import Backend
from streamapp.local.rights import PROGRAMS
from tests.e2e.test_access_faults import IS_LONG, WRONG, is_verified
from tests.e2e.test_secure import NAMES, secrets_of, security_of, send, settings_of, stored
from tests.support import forked
from tests.support.backends import running_backend
from tests.support.forked import ForkedWorker
from tests.support.until import until

SCHEMA = Path(__file__).parents[2] / "schemas" / "user_event_v2.avsc"
#: Programs with pages or a log are in other tests: test_access_faults.py, test_page.py.
APART = {"worker", "worker that sends samples", "dashboard"}
ARGUMENTS = {
    "send-sample": ("--count", "1"),
    "dlq show": ("--origin", f"{NAMES['topic']}-0-0"),
    "explain": (f"{NAMES['topic']}:0:0",),
    "rewind": ("--to-earliest", "--yes"),
    "schema check": ("--against-registry", str(SCHEMA)),
    "schema diff": ("v1", "v2"),
    "schema register": ("--dry-run", str(SCHEMA)),
}
#: Programs that ask the registry.
REGISTRY = ("send-sample", "verify", "explain", "doctor", "schema check", "schema diff", "schema register")
PASSWORD = "the user or the password is wrong"
#: Server → what a command says, one of each line.
SAID: Mapping[str, Sequence[Sequence[str]]] = {
    "kafka": [[PASSWORD], ["STREAMAPP_KAFKA_SASL_PASSWORD"], ["STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "kafka.address"]],
    "registry": [["answers 401", "answers with status 401"], ["STREAMAPP_SCHEMA_REGISTRY_PASSWORD"]],
    "mongodb": [[PASSWORD, "refuses the login"], ["STREAMAPP_MONGO_URI"]],
}
#: Commands that say so, and do the rest.
WORKS_WITHOUT = {("dlq list", "mongodb"), ("schema list", "mongodb")}
_ALL = [
    *((program.name, "kafka") for program in PROGRAMS if program.kafka and program.name not in APART),
    *((program.name, "mongodb") for program in PROGRAMS if program.actions and program.name not in APART),
    *((name, "registry") for name in REGISTRY),
]
#: A third of them, of all servers, unless STREAMAPP_TEST_LONG is set: each is a process of its own.
CASES = _ALL if IS_LONG else _ALL[::3]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Generator[Backend]:
    """Return a secured backend with events and dead letters in all partitions."""
    with running_backend(secure=True, **NAMES) as backend:
        settings = settings_of(backend)
        send(settings, 100, "--faults", "bad-magic=0.3", "--seed", "1")
        with ForkedWorker(settings, tmp_path_factory.mktemp("worker")) as worker:
            until(lambda: stored(backend) > 50, what="the events")
            until(lambda: is_verified(settings), within=60, what="all records settled")
            assert worker.stop() == 0
        yield backend


def changes(backend: Backend, server: str) -> Mapping[str, Any]:
    """Return settings with a wrong password for a server."""
    if server == "mongodb":
        uri = security_of(backend).mongod.uri(*backend.ports.mongods, user="streamapp", password=WRONG)
        return {"mongo_uri_file": None, "mongo_uri": uri}
    name = "kafka_sasl_password" if server == "kafka" else "schema_registry_password"
    return {f"{name}_file": None, name: WRONG}


def test_every_command_names_a_refused_login(secured: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server, the setting, the cause and the remedy; and prints no secret."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    printed: list[str] = []

    def problem(case: tuple[str, str]) -> str | None:
        name, server = case
        settings = settings_of(secured, **changes(secured, server))
        command, log = ("streamapp", *name.split(), *ARGUMENTS.get(name, ())), tmp_path / f"{name} {server}.log"
        code, said = forked.run(*command, settings=settings, folder=tmp_path, log=log)
        printed.append(said)
        is_named = all(any(word in said for word in words) for words in SAID[server])
        is_good = is_named and bool(code) is (case not in WORKS_WITHOUT)
        return None if is_good else f"{name} without {server}: exit code {code}: {said[-1500:]}"

    with ThreadPoolExecutor(8) as threads:
        problems = [*filter(None, threads.map(problem, CASES))]

    assert not problems, "\n\n".join(problems)
    everything = "".join(printed)
    assert "Traceback" not in everything
    assert [] == [secret for secret in [*secrets_of(secured), WRONG] if secret in everything]
