"""`streamapp send-sample` as users run it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from streamapp.decode import wire_format
from streamapp.decode.writer_schema import writer_schema
from streamapp.model import event
from streamapp.settings import Settings
from streamapp.verify import manifest_file
from tests.support import foreign
from tests.support.offsets import end_offsets
from tests.support.until import until
from tests.support.workers import STREAMAPP, environment, run

START = "2026-01-31T12:00:00Z"


def values(settings: Settings, count: int) -> list[bytes]:
    """Return the values in the topic, sorted."""
    return sorted(message.value() or b"" for message in foreign.read_all(settings, settings.topic, count))


def test_runs_with_a_seed_and_a_start_repeat_byte_for_byte(settings: Settings) -> None:
    """On the same registry."""
    sample = (STREAMAPP, "send-sample", "--count", "200", "--seed", "5", "--start", START, "--rate", "1000")
    assert run(*sample, settings=settings).returncode == 0
    first = values(settings, 200)
    assert run(*sample, settings=settings).returncode == 0

    assert sorted(first * 2) == values(settings, 400)
    assert len(set(first)) == 200


def test_event_times_continue_from_the_start_at_the_rate(settings: Settings) -> None:
    """100 events at 50 a second are 1.98 s from the first to the last."""
    run(
        STREAMAPP,
        "send-sample",
        "--count",
        "100",
        "--start",
        START,
        "--rate",
        "50",
        "--v2-ratio",
        "0",
        settings=settings,
    )
    v1 = writer_schema(event.schema(1), schema_id=0, version="v1")
    times = sorted(wire_format.read(value, v1)["event_timestamp"] for value in values(settings, 100))

    assert 1_769_860_800_000 == times[0]
    assert 1_980 == times[-1] - times[0]


def test_event_times_fill_a_span(settings: Settings) -> None:
    """From the start on; a span that is none is refused before anything is sent."""
    sample = (STREAMAPP, "send-sample", "--count", "300", "--start", START, "--v2-ratio", "0")
    assert run(*sample, "--over", "30d", settings=settings).returncode == 0
    v1 = writer_schema(event.schema(1), schema_id=0, version="v1")
    days = {wire_format.read(value, v1)["event_timestamp"] // 86_400_000 for value in values(settings, 300)}

    # From noon to noon, 30 days are parts of 31 days.
    assert 31 == len(days)
    for wrong in ("90", "0d", "1y", "-1d", "4000d"):
        refused = run(*sample, "--over", wrong, settings=settings)
        assert (2, True) == (refused.returncode, f"{wrong!r} is not a span" in refused.stderr)


def test_records_have_headers_by_version(settings: Settings) -> None:
    """For all versions, or for one; what is no header is refused before anything is sent."""
    sample = (STREAMAPP, "send-sample", "--count", "40", "--v2-ratio", "0.5", "--seed", "1")
    headers = ("--header", "client=shop=1 ü", "--header", "v1:client_version=1.8")
    assert run(*sample, *headers, settings=settings).returncode == 0
    versions = {
        int.from_bytes((message.value() or b"")[1:5], "big"): message.headers()
        for message in foreign.read_all(settings, settings.topic, 40)
    }

    client = ("client", "shop=1 ü".encode())
    assert [[client, ("client_version", b"1.8")], [client]] == [versions[schema_id] for schema_id in sorted(versions)]
    for wrong in ("client", "v3:client=x", "cli ent=x", "=x"):
        refused = run(*sample, "--header", wrong, settings=settings)
        assert (2, True) == (refused.returncode, f"{wrong!r} is no header" in refused.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_early_with_a_complete_manifest(settings: Settings, tmp_path: Path, number: int) -> None:
    """The manifest contains all records in the topic; the exit code is 128 plus the number of the signal."""
    assert run(STREAMAPP, "send-sample", "--count", "1", settings=settings).returncode == 0
    before, path = end_offsets(settings), tmp_path / "sent.jsonl"
    command = [STREAMAPP, "send-sample", "--count", "100000", "--rate", "50", "--manifest", str(path)]
    with subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True) as sending:
        try:
            until(lambda: sum(end_offsets(settings).values()) > 5, within=60, what="events")
            sending.send_signal(number)
            output, _ = sending.communicate(timeout=240)
        finally:
            sending.kill()

    (line,) = manifest_file.read(path)
    sent = {p: [(before[p], end - 1)] for p, end in end_offsets(settings).items() if end > before[p]}
    assert 128 + number == sending.returncode, output
    assert sent == {partition: to.offsets for partition, to in line.partitions.items()}


def test_a_registry_url_without_the_path_is_named_with_its_remedy(settings: Settings) -> None:
    """The error names the setting and the URL with the path, as `doctor` does."""
    url = settings.schema_registry_url.removesuffix("/apis/ccompat/v7")

    done = run(STREAMAPP, "send-sample", settings=settings.model_copy(update={"schema_registry_url": url}))

    assert done.returncode == 1
    assert "STREAMAPP_SCHEMA_REGISTRY_URL" in done.stderr
    assert settings.schema_registry_url in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("--json", "send-sample"), ("send-sample", "--json")])
def test_the_report_can_be_json_on_either_side(settings: Settings, command: tuple[str, ...]) -> None:
    """An object of numbers on stdout."""
    done = run(STREAMAPP, *command, "--count", "10", "--v2-ratio", "1", settings=settings)

    facts = json.loads(done.stdout)
    assert facts.pop("seconds") >= 0
    assert {"sent": 10, "acknowledged": 10, "v1": 0, "v2": 10} == facts


def test_the_report_is_readable(settings: Settings) -> None:
    """One line for each number."""
    done = run(STREAMAPP, "send-sample", "--count", "10", settings=settings)

    assert re.search(r"^sent +10$", done.stdout, re.MULTILINE)
    assert done.returncode == 0
