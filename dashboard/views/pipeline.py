"""The state of the pipeline: lag, throughput, latency, dead letters, schema versions, workers."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.model import alt_texts, figures, formatting, pipeline_figures, signals
from dashboard.model.errors import DashboardError
from dashboard.model.pipeline_trends import SPANS, trends
from dashboard.views import address, chart, charts, controls, notices, tables
from streamapp.monitoring.lag_history import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta, tzinfo

    from dashboard.data.feed import Feed, PipelineReading
    from dashboard.model import health
    from dashboard.model.health import Health, PipelineState
    from dashboard.model.pipeline_trends import PipelineHistory, Span, Trends

_NOT_REPORTED = "Unknown: no worker has reported it in this time."
_HISTORY = "pipeline_history"
_BY_PARTITION = "Waiting messages by partition"
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


def show(pipeline_reading: PipelineReading, feed: Feed, zone: tzinfo) -> None:
    """Show the state of the pipeline; during an outage the last one that was read, with its time."""
    with st.container(key="pipeline_notice"):
        if pipeline_reading.error is not None:
            notices.show_error(pipeline_reading.error, pipeline_reading.read_at, zone, pipeline_reading.at)
        elif not signals.status(pipeline_reading.health).advice:
            # Else the strip says it already.
            st.markdown(formatting.literal(pipeline_reading.health.why))
    _show_cards(pipeline_reading.health)
    if pipeline_reading.state is not None:
        read_at = pipeline_reading.read_at or pipeline_reading.at
        history = _history(feed)
        if history is not None:
            _show_trends(trends(history, read_at), history.span, zone)
        _show_tables(pipeline_reading.state, pipeline_reading.health, read_at, zone)


def _show_tables(state: PipelineState, found: Health, now: datetime, zone: tzinfo) -> None:
    workers = [_worker(each) for each in found.workers]
    if not address.is_kiosk():
        _show_dead_letters(state, found, now, zone)
        _table("Workers", workers)
        return
    # Beside each other, and nobody can open a reason.
    left, right = st.columns(2)
    with left:
        rows = [
            {"reason": letters["_id"], "records": letters["n"], "last": _last(letters, now, zone)}
            for letters in state.dead_letters
        ]
        _table(f"Dead letters: {_number(found.dead_letters)}", rows)
    with right:
        _table("Workers", workers)


def _history(feed: Feed) -> PipelineHistory | None:
    """What was read for the chosen span; during an outage what was read before."""
    keys = [span.key for span in SPANS]
    span = SPANS[keys.index(address.one(controls.SPAN, keys))]
    # The notice at the top reports an error.
    with suppress(DashboardError):
        st.session_state[_HISTORY] = feed.pipeline.history(span, feed.now())
    return st.session_state.get(_HISTORY)


def _show_cards(pipeline_reading: Health) -> None:
    cards = [*_cards(pipeline_reading).items()]
    in_row = len(cards) if address.is_kiosk() else len(cards) // 2
    with st.container(key="pipeline_cards"):
        for start in range(0, len(cards), in_row):
            for column, (label, value) in zip(st.columns(in_row), cards[start : start + in_row], strict=True):
                column.metric(label, value, help=_HELP[label], border=True)


def _cards(pipeline_reading: Health) -> dict[str, str]:
    none = formatting.NONE if pipeline_reading.has_worker else formatting.UNKNOWN
    latency = {
        f"Latency p{share}": none if ms is None else formatting.seconds(ms / 1_000)
        for share, ms in pipeline_reading.latency.items()
    }
    seconds = pipeline_reading.lag_seconds
    lag_seconds = formatting.UNKNOWN if seconds is None else formatting.seconds(seconds)
    return {
        "Last event": _age(pipeline_reading.last_event_age),
        "Waiting messages": _number(pipeline_reading.lag),
        "Oldest waiting": f"≤ {lag_seconds}" if pipeline_reading.lag_seconds_is_bound else lag_seconds,
        "Throughput": _unit(pipeline_reading.rate, "/s"),
        **latency,
        "Duplicates skipped": _number(pipeline_reading.duplicates),
    }


def _show_trends(shown: Trends, span: Span, zone: tzinfo) -> None:
    of_all = (
        ("Waiting messages", "messages", "", shown.lag),
        ("Oldest waiting", "at most", "s", shown.lag_seconds),
        ("Throughput", "per second", "/s", shown.rate),
    )
    for column, (title, beside, unit, points) in zip(st.columns(3), of_all, strict=True):
        with column.container(border=True, height="stretch"):
            charts.heading(title, f"{beside}, {span.key}")
            if any(value is not None for _, value in points):
                alt = alt_texts.trend(title, points, unit, span.key)
                chart.draw(figures.trend(points, unit, zone), key=f"trend {title}", alt=alt)
            else:
                st.caption(_NOT_REPORTED)
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        beside = f"messages, {span.key}"
        charts.heading(_BY_PARTITION, f"{beside}; {shown.others} with less are left out" if shown.others else beside)
        if any(value is not None for line in shown.partitions for _, value in line.points):
            alt = pipeline_figures.lines_text(_BY_PARTITION, shown.partitions, "")
            chart.draw(pipeline_figures.lines(shown.partitions, "", zone), key="partitions", alt=alt)
        else:
            st.caption(_NOT_REPORTED)
    with right.container(border=True, height="stretch"):
        step = span.counting.step
        per = "minute" if step == HOUR.step else formatting.duration(step)
        charts.heading("Dead letters over time", f"per {per}, by reason, {span.key}")
        if shown.dead_letters:
            alt = pipeline_figures.dead_letters_text(shown.dead_letters)
            chart.draw(pipeline_figures.dead_letters(shown.dead_letters, step, zone), key="letters", alt=alt)
        else:
            st.caption("none")


def _show_dead_letters(state: PipelineState, found: Health, now: datetime, zone: tzinfo) -> None:
    charts.heading(
        f"Dead letters: {_number(found.dead_letters)}", f"of all time; times in {formatting.zone_name(zone)}"
    )
    for letters in state.dead_letters:
        last = _last(letters, now, zone)
        title = f"{formatting.literal(str(letters['_id']))} · {_number(letters['n'])} · last {last}"
        with st.expander(title, key=f"letters {letters['_id']}"):
            _show_sample(letters.get("sample"), state)
    if not state.dead_letters:
        st.caption("none")


def _last(letters: health.Document, now: datetime, zone: tzinfo) -> str:
    """Return when the last one came; created and not counted yet, it has no time and no sample."""
    last_at = letters.get("last_at")
    return formatting.clock(last_at, today=now, zone=zone) if last_at else formatting.UNKNOWN


def _show_sample(sample: health.Document | None, state: PipelineState) -> None:
    if not sample:
        st.markdown(f"The last record: {formatting.UNKNOWN}")
        return
    place = f"{sample['topic']}, partition {sample['partition']}, offset {sample['offset']}"
    error = sample.get("error") or "shown by the command below"
    st.markdown(
        f"- The last record: {formatting.literal(place)}\n"
        f"- Error: {formatting.literal(error)}\n"
        f"- Schema: {_schema_name(sample, state)}"
    )
    origin = shlex.quote(f"{sample['topic']}-{sample['partition']}-{sample['offset']}")
    st.code(f"streamapp dlq show --origin {origin}", language="bash")


def _schema_name(sample: health.Document, state: PipelineState) -> str:
    if (schema_id := sample.get("schema_id")) is None:
        return "no schema id could be read" if "schema_id" in sample else formatting.UNKNOWN
    version = next((f"v{each['version']}, " for each in state.schemas if each["schema_id"] == schema_id), "")
    return f"{version}id {schema_id}"


def _table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    charts.heading(title)
    if rows:
        st.dataframe(rows, hide_index=True, width="stretch", height=tables.height(rows))
    else:
        st.caption("none")


def _worker(found: health.Worker) -> dict[str, Any]:
    heartbeat = formatting.age(found.age)
    return {
        "worker": found.name,
        "heartbeat": f"gone: {heartbeat}" if found.is_gone else heartbeat,
        "partitions": found.partitions,
        "rate": _unit(found.rate, "/s"),
        "memory": _unit(found.memory_bytes and found.memory_bytes / 2**20, "MiB"),
        "running for": formatting.UNKNOWN if found.running_for is None else formatting.duration(found.running_for),
    }


def _number(n: int | None) -> str:
    return formatting.UNKNOWN if n is None else formatting.number(n)


def _age(span: timedelta | None) -> str:
    return formatting.UNKNOWN if span is None else formatting.age(span)


def _unit(number: float | None, unit: str) -> str:
    return formatting.UNKNOWN if number is None else f"{number:,.1f} {unit}"
