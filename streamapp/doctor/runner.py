"""Run all checks: those of the servers at the same time, then those that need several servers; each with a timeout."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from streamapp.decode.document import id_of
from streamapp.doctor.checks.finding import Finding, Findings, fault, skipped
from streamapp.doctor.checks.redaction import redact_user_info, redactor
from streamapp.doctor.environment import port_findings, settings_findings
from streamapp.doctor.kafka import KafkaChecks
from streamapp.doctor.mongo import MongoChecks
from streamapp.doctor.records import newest_findings, sample_documents, sample_findings
from streamapp.doctor.registry import RegistryChecks
from streamapp.errors import Undecodable
from streamapp.model.record import Record, origin_of
from streamapp.settings import Settings

#: Timeouts of the checks of the servers, and of the checks of records, which need several servers.
SERVER_CHECKS_SECONDS = 12.0
RECORD_CHECKS_SECONDS = 5.0


def run_checks(settings: Settings, environ: Mapping[str, str], folder: Path) -> Sequence[Finding]:
    """Run all checks and return their findings without secrets; writes nothing."""
    with closing(RegistryChecks(settings)) as registry:
        found = _run_checks(settings, environ, folder, registry)
    return [finding.with_texts(redact_user_info) for finding in found]


def _run_checks(
    settings: Settings, environ: Mapping[str, str], folder: Path, registry: RegistryChecks
) -> Sequence[Finding]:
    given = [value for _, value in settings if isinstance(value, SecretStr)]
    redact = redactor(settings.mongo_uri.get_secret_value(), [secret.get_secret_value() for secret in given])
    kafka = KafkaChecks(settings)
    mongo = MongoChecks(settings, _samples(settings), redact)
    found = _run_concurrently(
        {
            "settings": lambda: settings_findings(settings, environ, folder),
            "kafka": kafka.findings,
            "registry": registry.findings,
            "mongodb": mongo.findings,
            "ports": lambda: port_findings(settings, redact),
        },
        SERVER_CHECKS_SECONDS,
        redact,
    )
    found += _run_concurrently(
        {"codec": lambda: sample_findings(settings, registry.registered)}, RECORD_CHECKS_SECONDS, redact
    )
    return found + _run_concurrently(
        {"records": lambda: _newest(settings, kafka, registry, mongo)}, RECORD_CHECKS_SECONDS, redact
    )


def _samples(settings: Settings) -> Mapping[str, dict[str, object]]:
    try:
        return sample_documents(settings)
    except Undecodable:
        return {}  # the checks of the codec report the error


def _newest(settings: Settings, kafka: KafkaChecks, registry: RegistryChecks, mongo: MongoChecks) -> Findings:
    if not kafka.bounds:
        yield skipped("records.newest", "a topic with readable offsets")
    elif not registry.is_available:
        yield skipped("records.newest", "a reachable registry")
    else:
        topic_id = kafka.topic.topic_id if kafka.topic else None

        def is_stored(record: Record) -> bool:
            return mongo.is_stored(id_of(origin_of(record, topic_id)))

        yield from newest_findings(settings, kafka.bounds, registry.look_up, is_stored)


def _run_concurrently(
    areas: Mapping[str, Callable[[], Findings]], seconds: float, redact: Callable[[str], str]
) -> list[Finding]:
    """Run the checks of all areas in threads; an area that exceeds the timeout reports what it has found so far."""
    give_up_at = time.monotonic() + seconds
    running = [_CheckThread(name, check, redact) for name, check in areas.items()]
    for area in running:
        area.thread.join(max(0.0, give_up_at - time.monotonic()))
    return [finding for area in running for finding in area.findings()]


class _CheckThread:
    """A daemon thread that runs the checks of one area."""

    def __init__(self, name: str, check: Callable[[], Findings], redact: Callable[[str], str]) -> None:
        self._name = name
        self._check = check
        self._redact = redact
        self._found: list[Finding] = []
        self.thread = threading.Thread(target=self._run, name=f"doctor-{name}", daemon=True)
        self.thread.start()

    def findings(self) -> list[Finding]:
        """Return the findings so far, with a fault if the checks still run."""
        found = [*self._found]
        if self.thread.is_alive():
            found.append(
                fault(f"{self._name}.time", "a check did not end before the timeout", "read the log of the server")
            )
        return found

    def _run(self) -> None:
        try:
            for finding in self._check():
                self._found.append(finding)
        except Exception as exc:  # noqa: BLE001 - the other checks continue, and the error is reported
            seen = f"a check failed with {type(exc).__name__}: {self._redact(str(exc))}"
            self._found.append(fault(f"{self._name}.check", seen[:400], "read the log of the server"))
