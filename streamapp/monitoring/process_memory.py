"""The memory of this process, as Prometheus' client reads it from the system."""

from __future__ import annotations

from prometheus_client import ProcessCollector

_PROCESS = ProcessCollector(registry=None)


def resident_bytes() -> int | None:
    """Return the resident memory; None where the system does not tell it."""
    samples = [sample for metric in _PROCESS.collect() for sample in metric.samples]
    return next((int(each.value) for each in samples if each.name == "process_resident_memory_bytes"), None)
