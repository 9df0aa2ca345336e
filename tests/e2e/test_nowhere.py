"""Workers without servers: each stops in order, and its log names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from streamapp import net
from streamapp.settings import Settings
from tests.support.backends import plain_settings
from tests.support.until import until
from tests.support.workers import Worker


def nowhere(**changes: Any) -> Settings:
    """Return settings with addresses at which no server listens."""
    address = f"127.0.0.1:{net.choose_port()}"
    values: dict[str, Any] = {
        "kafka_bootstrap_servers": address,
        "schema_registry_url": f"http://{address}",
        "mongo_uri": SecretStr(f"mongodb://{address}"),
    }
    return plain_settings(**(values | changes))


def test_a_signal_while_kafka_is_unreachable_stops_the_worker_in_order(tmp_path: Path) -> None:
    """It has no consumer yet. What it has printed names no folder that it does not have."""
    with Worker(nowhere(), tmp_path) as worker:
        until(lambda: "is unreachable; retrying" in worker.text, within=60, what="a worker that waits")

        assert 0 == worker.stop()
        assert "Traceback" not in worker.text
        assert "hostname" in worker.text
        assert [] == [name for name in ("datadir", "appdir", "store") if name in worker.text]


@pytest.mark.parametrize(
    ("setting", "value", "code", "words"),
    [
        ("mongo_uri", SecretStr("mongodb+srv://bob:hunter2@127.0.0.1/"), 1, "STREAMAPP_MONGO_URI"),
        ("web_host", "256.1.1.1", 2, "this machine has no address '256.1.1.1' (STREAMAPP_WEB_HOST)"),
    ],
)
def test_an_unusable_setting_ends_the_worker(setting: str, value: Any, code: int, words: str, tmp_path: Path) -> None:
    """The error names the setting and contains no password."""
    with Worker(nowhere(**{setting: value}), tmp_path) as worker:
        assert code == worker.process.wait(240)

        assert words in worker.text
        assert "hunter2" not in worker.text
        assert "Traceback" not in worker.text
