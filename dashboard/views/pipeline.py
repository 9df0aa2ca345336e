"""The state of the pipeline: lag, throughput, latency, dead letters, schema versions, workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.model import alt_texts, figures, formatting
from dashboard.views import chart, charts, notices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta, tzinfo

    from dashboard.data.feed import PipelineReading
    from dashboard.model import health
    from dashboard.model.health import Health, PipelineState

_HELP = {
    "Last event": "When the newest event was stored.",
    "Waiting messages": "Records in Kafka that are not stored yet.",
    "Oldest waiting": "Age of the oldest record that is not stored yet, by its Kafka timestamp; ≤ where only an upper "
    "bound is known, because the worker has not read that record yet.",
    "Throughput": "Records that the workers have settled per second.",
    "Latency p50": "Half of the events of the last five minutes were stored within this time after their Kafka "
    "timestamp.",
    "Latency p95": "95 of 100 events of the last five minutes were stored within this time.",
    "Latency p99": "99 of 100 events of the last five minutes were stored within this time.",
    "Duplicates skipped": "Records that were delivered again and were stored already, by the workers of the last "
    "seven days.",
}


def show(pipeline_reading: PipelineReading, zone: tzinfo) -> None:
    """Show the state of the pipeline; during an outage the last one that was read, with its time."""
    with st.container(key="pipeline_notice"):
        if pipeline_reading.error is None:
            st.markdown(_plain(pipeline_reading.health.why))
        else:
            notices.show_error(pipeline_reading.error, pipeline_reading.read_at, zone, pipeline_reading.at)
    _show_cards(pipeline_reading.health)
    if pipeline_reading.state is not None:
        _show_trends(pipeline_reading.health, zone)
        read_at = pipeline_reading.read_at or pipeline_reading.at
        _show_tables(pipeline_reading.state, pipeline_reading.health, read_at, zone)


def _show_cards(pipeline_reading: Health) -> None:
    cards = [*_cards(pipeline_reading).items()]
    for row in (cards[:4], cards[4:]):
        for column, (label, value) in zip(st.columns(4), row, strict=True):
            column.metric(label, value, help=_HELP[label], border=True)


def _cards(pipeline_reading: Health) -> dict[str, str]:
    latency = {f"Latency p{share}": _milliseconds(value) for share, value in pipeline_reading.latency.items()}
    lag_seconds = _unit(pipeline_reading.lag_seconds, "s")
    return {
        "Last event": _age(pipeline_reading.last_event_age),
        "Waiting messages": _number(pipeline_reading.lag),
        "Oldest waiting": f"≤ {lag_seconds}" if pipeline_reading.lag_seconds_is_bound else lag_seconds,
        "Throughput": _unit(pipeline_reading.rate, "/s"),
        **latency,
        "Duplicates skipped": _number(pipeline_reading.duplicates),
    }


def _show_trends(pipeline_reading: Health, zone: tzinfo) -> None:
    trends = (
        ("Waiting messages", "messages", "", pipeline_reading.lag_trend),
        ("Oldest waiting", "at most", "s", pipeline_reading.lag_seconds_trend),
        ("Throughput", "per second", "/s", pipeline_reading.rate_trend),
    )
    for column, (title, beside, unit, points) in zip(st.columns(3), trends, strict=True):
        with column.container(border=True, height="stretch"):
            charts.heading(title, f"{beside}, 10 min")
            alt = alt_texts.trend(title, points, unit)
            chart.draw(figures.trend(points, unit, zone), key=f"trend {title}", alt=alt)


def _show_tables(state: PipelineState, pipeline_reading: Health, now: datetime, zone: tzinfo) -> None:
    letters = [_dead_letter(found, now, zone) for found in state.dead_letters]
    schemas = [_schema(found, state, now, zone) for found in state.schemas]
    times = f"times in {formatting.zone_name(zone)}"
    left, right = st.columns(2)
    with left:
        _table(f"Dead letters: {_number(pipeline_reading.dead_letters)}", letters, beside=times)
        if letters:
            st.caption("Each with the coordinates of the latest record.")
    with right:
        _table("Schema versions seen", schemas, beside=times)
        _table("Workers", [_worker(found) for found in pipeline_reading.workers])


def _table(title: str, rows: Sequence[dict[str, Any]], *, beside: str = "") -> None:
    charts.heading(title, beside if rows else "")
    if rows:
        st.dataframe(rows, hide_index=True, width="stretch")
    else:
        st.caption("none")


def _dead_letter(found: health.Document, now: datetime, zone: tzinfo) -> dict[str, Any]:
    # created and not counted yet: it has no time and no sample
    last_at = found.get("last_at")
    return {
        "reason": found["_id"],
        "events": found["n"],
        "last": formatting.clock(last_at, today=now, zone=zone) if last_at else formatting.UNKNOWN,
        "topic, partition:offset": _coordinates(found.get("sample")),
    }


def _coordinates(sample: health.Document | None) -> str:
    return f"{sample['topic']}, {sample['partition']}:{sample['offset']}" if sample else formatting.UNKNOWN


def _schema(found: health.Document, state: PipelineState, now: datetime, zone: tzinfo) -> dict[str, Any]:
    version = f"v{found['version']}"
    first, last = next((times for name, *times in state.version_times if name == version), (None, None))
    instants = {"first event": first, "last event": last, "first stored": found.get("first_seen_at")}
    return {
        "version": version,
        "schema id": found["schema_id"],
        **{
            name: formatting.clock(at, today=now, zone=zone) if at else formatting.UNKNOWN
            for name, at in instants.items()
        },
    }


def _worker(found: health.Worker) -> dict[str, Any]:
    heartbeat = formatting.age(found.age)
    return {
        "worker": found.name,
        "heartbeat": f"gone: {heartbeat}" if found.is_gone else heartbeat,
        "partitions": found.partitions,
    }


def _number(n: int | None) -> str:
    return formatting.UNKNOWN if n is None else formatting.number(n)


def _age(span: timedelta | None) -> str:
    return formatting.UNKNOWN if span is None else formatting.age(span)


def _unit(number: float | None, unit: str) -> str:
    return formatting.UNKNOWN if number is None else f"{number:,.1f} {unit}"


def _milliseconds(ms: float | None) -> str:
    if ms is None:
        return formatting.UNKNOWN
    return f"{ms:,.0f} ms" if ms < 1_000 else f"{ms / 1_000:,.1f} s"  # noqa: PLR2004 - a second


def _plain(text: str) -> str:
    return text.replace("_", r"\_").replace("*", r"\*").replace("[", r"\[")
