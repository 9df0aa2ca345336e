"""The metrics of `/metrics`, from a page of a worker that has done a little of everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from generators.markdown import escaped
from generators.markdown import table as markdown_table
from streamapp.model.record import DeadLetter, Reason, TopicRecord, origin_of
from streamapp.monitoring.consumer import ConsumerState
from streamapp.monitoring.metrics import MetricsPage
from streamapp.monitoring.readiness import Readiness
from streamapp.monitoring.sink_metrics import SinkMetrics
from streamapp.retry import OutageRetrier
from streamapp.sink.settle import Fates
from streamapp.transport.offset_tracker import Progress

_RECORD = TopicRecord("user_events", 0, 0, 0, None, b"", [])
_PROGRESS = Progress(topic="user_events", partition=0, topic_id=None, settled=0, end=1, oldest_ms=0)
_CONSUMER = SimpleNamespace(
    in_flight=(1, 1), deleted_offsets=0, empty_offsets=0, rewinds=0, progress=lambda: [_PROGRESS]
)


def table() -> str:
    """Render each metric with its type, labels and meaning."""
    families = text_string_to_metric_families(page())
    rows = [_row(family) for family in families if family.name.startswith("streamapp_")]
    return markdown_table(["metric", "type", "labels", "meaning"], sorted(rows))


def page() -> str:
    """Return what /metrics answers."""
    sink = SinkMetrics()
    state = ConsumerState(consumer=cast("Any", _CONSUMER))
    page = MetricsPage(
        version="",
        decoder="compiled",
        sink=sink,
        fates=Fates,
        state=state,
        readiness=Readiness(state=state, is_agent_running=lambda: True),
        outages={"mongodb": OutageRetrier("MongoDB")},
    )
    sink.stored([_RECORD], ["v1"])
    letter = DeadLetter(record=_RECORD, origin=origin_of(_RECORD, None), reason=Reason.EMPTY, error="", schema_id=None)
    sink.settled([_RECORD], [letter])
    sink.inserted(0)
    return page.render().decode()


def _row(family: Metric) -> tuple[str, ...]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"}, reverse=True)
    return f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), escaped(family.documentation)
