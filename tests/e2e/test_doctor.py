"""`streamapp doctor` as a process."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from streamapp import net
from streamapp.settings import Settings
from tests.support.backends import plain_settings
from tests.support.workers import STREAMAPP, run


def test_reachable_empty_servers_have_no_fault(settings: Settings, tmp_path: Path) -> None:
    """`--json` lists each check."""
    free = settings.model_copy(update={"web_port": net.choose_port(), "dashboard_port": net.choose_port()})
    done = run(STREAMAPP, "doctor", "--json", settings=free, cwd=tmp_path)

    report = json.loads(done.stdout)
    assert 0 == report["faults"], done.stdout
    assert 0 == done.returncode
    assert {"kafka.address", "registry.address", "mongodb.address"} <= {check["check"] for check in report["checks"]}


@pytest.mark.parametrize(
    ("hang", "user_info"),
    [(False, "me:hunter2"), (True, "me:hunter2"), (False, "streamapp:streamapp")],
    ids=["closed ports", "silent servers", "password is an ordinary word"],
)
def test_unreachable_servers_are_faults(hang: bool, user_info: str, tmp_path: Path) -> None:
    """Each fault has its setting and no password; a server that accepts connections but never answers is one too."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3 * hang)]
    kafka, registry, mongo = [each.getsockname()[1] for each in listening] or [net.choose_port() for _ in range(3)]
    settings = plain_settings(
        kafka_bootstrap_servers=f"127.0.0.1:{kafka}",
        schema_registry_url=f"http://127.0.0.1:{registry}",
        mongo_uri=SecretStr(f"mongodb://{user_info}@127.0.0.1:{mongo}/"),
        web_port=net.choose_port(),
        dashboard_port=net.choose_port(),
    )
    done = run(STREAMAPP, "doctor", settings=settings, cwd=tmp_path)
    for each in listening:
        each.close()

    faults = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("fault ")]
    assert ["kafka.address", "registry.address", "mongodb.address"] == faults, done.stdout
    assert 1 == done.returncode
    assert 3 == done.stdout.count("with `streamapp up`, or set STREAMAPP_")
    assert "hunter2" not in done.stdout + done.stderr
    assert user_info not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert float(done.stdout.rpartition("seconds: ")[2]) < 30


def test_unknown_option_is_wrong_usage(tmp_path: Path) -> None:
    """The exit code is 2."""
    assert 2 == run(STREAMAPP, "doctor", "--all", settings=plain_settings(), cwd=tmp_path).returncode
