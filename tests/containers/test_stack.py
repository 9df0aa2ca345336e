"""compose.yaml as it is: up, send, verify, stop, come back, scale, down."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.engine import Engine
from tests.support.until import until

# The fixtures have limits of their own: each command of Docker ends after 560 s.
pytestmark = pytest.mark.timeout(900, func_only=True)

PORTS = {
    "KAFKA_PORT": "19092",
    "KAFKA_2_PORT": "19093",
    "KAFKA_3_PORT": "19094",
    "SCHEMA_REGISTRY_PORT": "18081",
    "MONGODB_PORT": "17017",
    "WORKER_PORT": "16066",
    "DASHBOARD_PORT": "18501",
    "PROMETHEUS_PORT": "19090",
}
#: Headers with which a browser asks for the WebSocket that carries the data of the page.
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec_WebSocket_Version": "13",
}
WORKER, PAGE = f"http://127.0.0.1:{PORTS['WORKER_PORT']}", f"http://127.0.0.1:{PORTS['DASHBOARD_PORT']}"


@dataclass(frozen=True)
class Stack:
    """A project of Compose in a copy of the checkout."""

    engine: Engine
    folder: Path
    images: dict[str, str]
    options: tuple[str, ...] = ("--project-name=streamapp-ci",)

    def compose(self, *arguments: str, check: bool = True, **ports: str) -> str:
        """Run `docker compose` in the copy; `ports` are other ones than `PORTS`."""
        options = (f"--project-directory={self.folder}", f"--file={self.folder / 'compose.yaml'}", *self.options)
        variables = {f"STACK_{name}": value for name, value in {**PORTS, **ports}.items()}
        tags = {"STACK_WORKER_IMAGE": self.images["worker"], "STACK_DASHBOARD_IMAGE": self.images["dashboard"]}
        return self.engine.docker("compose", *options, *arguments, check=check, **variables, **tags)

    def up(self, *arguments: str) -> None:
        """Bring the stack up, wait until it is ready, and print how long that took."""
        start = time.monotonic()
        self.compose("up", "--wait", "--no-build", *arguments)
        print(f"up {' '.join(arguments)}: {time.monotonic() - start:.0f} s")

    def streamapp(self, *arguments: str) -> str:
        """Run a command of streamapp in a container of the worker."""
        return self.compose("exec", "--no-TTY", "worker", "streamapp", *arguments)

    def states(self, service: str) -> list[str]:
        """Return the states of the containers of a service."""
        lines = self.compose("ps", "--all", "--format={{.State}}", service).splitlines()
        return [line for line in lines if line]

    def exit_codes(self, *services: str) -> set[str]:
        """Return the exit codes of the containers of the services."""
        return set(self.compose("ps", "--all", "--format={{.ExitCode}}", *services).split())


@pytest.fixture(scope="module")
def stack(engine: Engine, checkout: Path, images: dict[str, str]) -> Iterator[Stack]:
    """Return the stack with secrets, up; deleted afterwards."""
    (checkout / ".env").write_text("STREAMAPP_PRODUCE_INTERVAL_SECONDS=0\n", "utf-8")
    _make_secrets(checkout)
    stack = Stack(engine, checkout, images)
    stack.up()
    yield stack
    stack.compose("--profile=*", "down", "--volumes", "--timeout=30")


def test_runs_and_keeps_its_data(stack: Stack) -> None:
    """Events that are sent are stored and counted, also after a stop of everything and with more workers."""
    assert (200, True) == _ready(stack, f"{WORKER}/readyz")
    assert 200 == stack.engine.fetch(f"{PAGE}/")[0]
    assert (200, True) == _ready(stack, f"{PAGE}/readyz")

    stack.streamapp("send-sample", "--count", "5000")
    assert "5,000" in _verified(stack)

    # The same containers again.
    stack.compose("stop")
    ours = stack.exit_codes("worker", "dashboard", "worker-port")
    assert {"0"} == ours
    stack.up()
    assert "5,000" in _verified(stack)

    stack.up("--scale=worker=3")
    assert ["running"] * 3 == stack.states("worker")
    stack.streamapp("send-sample", "--count", "5000")
    assert "10,000" in _verified(stack)

    # The others take over from a worker that is killed.
    stack.engine.docker("kill", *stack.compose("ps", "--quiet", "worker").split()[:1])
    stack.streamapp("send-sample", "--count", "1000")
    assert "11,000" in _verified(stack)

    # New containers on the same volumes.
    stack.compose("down")
    stack.up()
    assert "11,000" in _verified(stack)


def test_answers_only_for_its_names(stack: Stack) -> None:
    """Neither the worker nor the data of the page under a name that a web page of somebody else may have."""
    assert 421 == stack.engine.fetch(f"{WORKER}/metrics", Host="attacker.example")[0]
    for host, status in (("localhost", 101), ("attacker.example", 403)):
        assert (
            status == stack.engine.fetch(f"{PAGE}/_stcore/stream", Host=host, Origin=f"http://{host}", **WEBSOCKET)[0]
        )


def test_prometheus_scrapes_every_worker(stack: Stack) -> None:
    """Each container of the worker is a target that answers, and the rules are loaded."""
    stack.compose("up", "--wait", "--no-build", "--scale=worker=2", "prometheus", "worker")
    api = f"http://127.0.0.1:{PORTS['PROMETHEUS_PORT']}/api/v1"

    def healths() -> list[str]:
        status, body = stack.engine.fetch(f"{api}/targets?state=active")
        return [each["health"] for each in json.loads(body)["data"]["activeTargets"]] if status == 200 else []

    until(lambda: healths() == ["up", "up"], within=60, what="the targets of Prometheus")
    _, rules = stack.engine.fetch(f"{api}/rules")
    files = list((stack.folder / "deploy" / "prometheus").glob("alerts*"))
    assert len(files) == len(json.loads(rules)["data"]["groups"][:1])
    stack.compose("rm", "--stop", "--force", "prometheus")


def test_other_containers_reach_the_worker_by_name(stack: Stack) -> None:
    """The metrics are answered under the name of the service."""
    script = "import urllib.request as r; print(r.urlopen('http://worker:6066/metrics').status)"

    assert "200" == stack.compose("exec", "--no-TTY", "dashboard", "python", "-c", script)


def test_shell_of_mongodb_counts(stack: Stack) -> None:
    """The command of the documents counts the events."""
    shell = 'mongosh --quiet "$(cat /run/secrets/mongodb-reader-uri)" --eval "db.events.countDocuments()"'

    assert stack.compose("exec", "--no-TTY", "mongodb", "bash", "-c", shell).splitlines()[-1].isdecimal()


def test_mongodb_refuses_who_has_no_password(stack: Stack) -> None:
    """Without a user nothing can be read, and the reader cannot write."""
    reader = (stack.folder / "secrets" / "mongodb-reader-uri").read_text("utf-8")
    write = "db.getSiblingDB('streaming_db').events.insertOne({})"
    shell = ("exec", "--no-TTY", "mongodb", "mongosh", "--quiet", "--norc")

    nobody = stack.compose(*shell, "--eval", "db.getSiblingDB('streaming_db').events.findOne()", check=False)
    a_reader = stack.compose(*shell, reader, "--eval", write, check=False)

    assert "requires authentication" in nobody
    assert "not authorized" in a_reader


def test_containers_have_no_rights_they_do_not_need(stack: Stack) -> None:
    """Every container runs without capabilities and with a memory limit; ours have a read-only root."""
    configs = json.loads(stack.engine.docker("inspect", *stack.compose("ps", "--quiet").split()))

    for config in configs:
        host, service = config["HostConfig"], config["Config"]["Labels"]["com.docker.compose.service"]
        assert ["ALL"] == host["CapDrop"], service
        assert ["no-new-privileges:true"] == host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert "unless-stopped" == host["RestartPolicy"]["Name"], service
        assert host["ReadonlyRootfs"] == (service not in {"kafka", "schema-registry"}), service


def test_no_secret_is_shown(stack: Stack) -> None:
    """No password is in the configuration of a container or in a log."""
    shown = stack.engine.docker("inspect", *stack.compose("ps", "--quiet").split()) + stack.compose("logs")
    secrets = [file.read_text("utf-8") for file in (stack.folder / "secrets").glob("*-password")]

    assert [] == [secret for secret in secrets if secret in shown]


def test_images_run_alone_on_other_servers(stack: Stack) -> None:
    """The profile `external` takes addresses from .env and files from secrets/external; here those of the stack."""
    secrets = stack.folder / "secrets"
    (secrets / "external").mkdir()
    (secrets / "external").chmod(0o755)
    shutil.copy(secrets / "mongodb-worker-uri", secrets / "external" / "mongo-uri")
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:29092",
        "SCHEMA_REGISTRY_URL": "http://schema-registry:8081",
        "MONGO_URI_FILE": "/run/secrets/mongo-uri",
        "PRODUCE_INTERVAL_SECONDS": "0",
    }
    (stack.folder / ".env").write_text(
        "".join(f"STREAMAPP_{name}={value}\n" for name, value in settings.items()), "utf-8"
    )
    services = ("external-worker", "external-dashboard")

    stack.compose("up", "--wait", "--no-build", "--no-deps", *services, WORKER_PORT="16067", DASHBOARD_PORT="18502")

    assert (200, True) == _ready(stack, "http://127.0.0.1:16067/readyz")
    assert (200, True) == _ready(stack, "http://127.0.0.1:18502/readyz")
    stack.compose("rm", "--stop", "--force", *services)


def test_down_deletes_the_volumes(stack: Stack) -> None:
    """With all profiles, `down --volumes` leaves nothing: Prometheus has run, and with it its profile."""
    stack.compose("--profile=*", "down", "--volumes")

    mine = "--filter=label=com.docker.compose.project=streamapp-ci"
    assert "" == stack.engine.docker("volume", "ls", "--quiet", mine)


def test_cluster_outlives_a_broker_and_a_member(engine: Engine, checkout: Path, images: dict[str, str]) -> None:
    """With the cluster's file, three brokers and three MongoDB members run, and one of each may be lost."""
    _make_secrets(checkout)
    stack = Stack(engine, checkout, images, (f"--env-file={checkout / 'deploy/compose/cluster.env'}",))
    try:
        stack.up()
        stack.streamapp("send-sample", "--count", "2000")
        for service in ("kafka", "mongodb"):
            engine.docker("kill", stack.compose("ps", "--quiet", service))
        stack.streamapp("send-sample", "--count", "2000")
        assert "4,000" in _verified(stack)
    finally:
        stack.compose("down", "--volumes", "--timeout=5")


def _make_secrets(folder: Path) -> None:
    subprocess.run([folder / "deploy" / "compose" / "secrets.sh"], check=True)


def _ready(stack: Stack, url: str) -> tuple[int, bool]:
    status, body = stack.engine.fetch(url)
    return status, bool(json.loads(body)["ready"])


def _verified(stack: Stack) -> str:
    return stack.streamapp("verify")
