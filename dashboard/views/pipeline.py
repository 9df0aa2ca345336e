"""How the pipeline is: lag, throughput, latency, dead letters, schema versions, workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import health, words
from dashboard.health import Health
from dashboard.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from dashboard.health import Written
    from dashboard.pipeline import Pipeline

_HELP = {
    "Last event": "When the newest event was stored.",
    "Lag": "Messages in Kafka that are not stored yet; the bars show the last ten minutes.",
    "Lag in seconds": "Age of the oldest message that is not stored yet, by its Kafka timestamp.",
    "Throughput": "Messages that the workers have settled per second; the bars show the last ten minutes.",
    "Latency p50": "Half of the events of the last five minutes were stored within this time after Kafka took them.",
    "Latency p95": "95 of 100 events of the last five minutes were stored within this time.",
    "Latency p99": "99 of 100 events of the last five minutes were stored within this time.",
    "Duplicates absorbed": "Messages that came again and were stored already, by the workers of the last seven days.",
}
# With room for the bars.
_HEIGHTS = (150, 110)


def show(pipeline: Pipeline, now: datetime) -> None:
    """Show the pipeline's health at an instant."""
    try:
        written = pipeline.written()
    except Trouble as trouble:
        _show_health(health.unknown(str(trouble)))
        return
    told = health.health(written, now)
    _show_health(told)
    _show_tables(written, told, now)


def _show_health(told: Health) -> None:
    st.markdown(_plain(told.why))
    cards = [*_cards(told).items()]
    for row, height in zip((cards[:4], cards[4:]), _HEIGHTS, strict=True):
        for column, (label, (value, trend)) in zip(st.columns(4), row, strict=True):
            # Bars, since they begin at 0: a line would make much of a small change.
            bars = [*trend] or None
            column.metric(
                label, value, chart_data=bars, chart_type="bar", help=_HELP[label], border=True, height=height
            )


def _cards(told: Health) -> dict[str, tuple[str, Sequence[float]]]:
    latency = {f"Latency p{share}": (_milliseconds(value), ()) for share, value in told.latency.items()}
    return {
        "Last event": (_age(told.last_event_age), ()),
        "Lag": (_number(told.lag), told.lag_trend),
        "Lag in seconds": (_unit(told.lag_seconds, "s"), ()),
        "Throughput": (_unit(told.rate, "/s"), told.rate_trend),
        **latency,
        "Duplicates absorbed": (_number(told.duplicates), ()),
    }


def _show_tables(written: Written, told: Health, now: datetime) -> None:
    left, right = st.columns(2)
    with left:
        _table(f"Dead letters: {_number(told.dead_letters)}", [_dead_letter(d, now) for d in written.dead_letters])
    with right:
        _table("Schema versions seen", [_schema(found, now) for found in written.schemas])
        _table("Workers", [_worker(found) for found in told.workers])


def _table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    st.markdown(f"**{title}**")
    if rows:
        st.dataframe(rows, hide_index=True, width="stretch")
    else:
        st.caption("none")


def _dead_letter(found: health.Document, now: datetime) -> dict[str, Any]:
    # Seeded, and not counted yet: no time and no sample.
    last_at = found.get("last_at")
    return {
        "reason": found["_id"],
        "n": found["n"],
        "last": words.instant(last_at, today=now) if last_at else words.UNKNOWN,
        "topic, partition:offset": _coordinates(found.get("sample")),
    }


def _coordinates(sample: health.Document | None) -> str:
    return f"{sample['topic']}, {sample['partition']}:{sample['offset']}" if sample else words.UNKNOWN


def _schema(found: health.Document, now: datetime) -> dict[str, Any]:
    first_seen = words.instant(found["first_seen_at"], today=now)
    return {"version": f"v{found['version']}", "schema id": found["schema_id"], "first seen": first_seen}


def _worker(found: health.Worker) -> dict[str, Any]:
    heartbeat = words.age(found.age)
    return {
        "worker": found.name,
        "heartbeat": f"gone: {heartbeat}" if found.is_gone else heartbeat,
        "partitions": found.partitions,
    }


def _number(n: int | None) -> str:
    return words.UNKNOWN if n is None else words.number(n)


def _age(span: timedelta | None) -> str:
    return words.UNKNOWN if span is None else words.age(span)


def _unit(number: float | None, unit: str) -> str:
    return words.UNKNOWN if number is None else f"{number:,.1f} {unit}"


def _milliseconds(ms: float | None) -> str:
    if ms is None:
        return words.UNKNOWN
    return f"{ms:,.0f} ms" if ms < 1_000 else f"{ms / 1_000:,.1f} s"  # noqa: PLR2004 - a second


def _plain(text: str) -> str:
    return text.replace("_", r"\_").replace("*", r"\*").replace("[", r"\[")
