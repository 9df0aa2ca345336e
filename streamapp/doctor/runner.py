"""All checks: the three servers at once, each within its time, then what needs more than one of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from streamapp.doctor.checks.finding import Finding, Findings, fault, skipped
from streamapp.doctor.checks.redaction import hiding, without_user_info
from streamapp.doctor.environment import port_findings, settings_findings
from streamapp.doctor.kafka import KafkaChecks
from streamapp.doctor.mongo import MongoChecks
from streamapp.doctor.records import newest_findings, sample_documents, sample_findings
from streamapp.doctor.registry import RegistryChecks
from streamapp.errors import Undecodable
from streamapp.settings import Settings

#: Seconds for all checks of the servers, and then for all that need more than one of them.
SERVERS_WITHIN = 12.0
RECORDS_WITHIN = 5.0


def examine(settings: Settings, environ: Mapping[str, str], folder: Path) -> Sequence[Finding]:
    """All findings, in their order, without a secret; writes nothing anywhere."""
    with closing(RegistryChecks(settings)) as registry:
        found = _examine(settings, environ, folder, registry)
    return [finding.changed(without_user_info) for finding in found]


def _examine(
    settings: Settings, environ: Mapping[str, str], folder: Path, registry: RegistryChecks
) -> Sequence[Finding]:
    hide = hiding(settings.mongo_uri.get_secret_value())
    kafka = KafkaChecks(settings)
    mongo = MongoChecks(settings, _samples(settings), hide)
    found = _at_once(
        {
            "settings": lambda: settings_findings(settings, environ, folder),
            "kafka": kafka.findings,
            "registry": registry.findings,
            "mongodb": mongo.findings,
            "ports": lambda: port_findings(settings, hide),
        },
        SERVERS_WITHIN,
        hide,
    )
    found += _at_once({"codec": lambda: sample_findings(settings, registry.ours)}, RECORDS_WITHIN, hide)
    return found + _at_once({"records": lambda: _newest(settings, kafka, registry)}, RECORDS_WITHIN, hide)


def _samples(settings: Settings) -> Mapping[str, dict[str, object]]:
    try:
        return sample_documents(settings)
    except Undecodable:
        return {}  # which the codec's checks tell of


def _newest(settings: Settings, kafka: KafkaChecks, registry: RegistryChecks) -> Findings:
    if not kafka.bounds:
        yield skipped("records.newest", "a topic whose records can be read")
    elif not registry.answers:
        yield skipped("records.newest", "a registry that answers")
    else:
        yield from newest_findings(settings, kafka.bounds, registry.look_up)


def _at_once(areas: Mapping[str, Callable[[], Findings]], within: float, hide: Callable[[str], str]) -> list[Finding]:
    """The findings of all areas; one that has not ended in time is left to itself, with what it has found so far."""
    give_up_at = time.monotonic() + within
    running = [_Area(name, check, hide) for name, check in areas.items()]
    for area in running:
        area.thread.join(max(0.0, give_up_at - time.monotonic()))
    return [finding for area in running for finding in area.findings()]


class _Area:
    """The checks of one area, in a thread of their own, which does not outlive the process."""

    def __init__(self, name: str, check: Callable[[], Findings], hide: Callable[[str], str]) -> None:
        self._name = name
        self._check = check
        self._hide = hide
        self._found: list[Finding] = []
        self.thread = threading.Thread(target=self._run, name=f"doctor-{name}", daemon=True)
        self.thread.start()

    def findings(self) -> list[Finding]:
        """What was found so far, and that there is no more, if so."""
        found = [*self._found]
        if self.thread.is_alive():
            found.append(fault(f"{self._name}.time", "no answer in time to the next question", "look at its log"))
        return found

    def _run(self) -> None:
        try:
            for finding in self._check():
                self._found.append(finding)
        except Exception as exc:  # noqa: BLE001 - the other checks go on, and the reader is told
            seen = f"a check has failed: {type(exc).__name__}: {self._hide(str(exc))}"
            self._found.append(fault(f"{self._name}.check", seen[:400], "look at the server's log"))
