"""The versions of the schema: their adoption, who still sends an old one, in what they differ, their dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.data.newest import MOST_READ
from dashboard.model import alt_texts, compute, figures, formatting, schema_figures, schema_versions, time_window
from dashboard.model.errors import DashboardError
from dashboard.model.schema_versions import Difference
from dashboard.model.snapshot import FILTERS, Filter, Query
from dashboard.views import address, chart, charts, choices, notices, tables
from streamapp.compatibility.diff import What
from streamapp.compatibility.modes import first_to_upgrade
from streamapp.model.user_event import CHARTS, SCHEMA_VERSION
from streamapp.settings import variable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from dashboard.data.feed import Feed, Reading
    from dashboard.model.schema_versions import SchemaState, VersionRow
    from dashboard.model.snapshot import Part, Sample, Snapshot
    from dashboard.model.time_window import Window
    from dashboard.views.controls import Choice
    from streamapp.compatibility.diff import Change
    from streamapp.model.user_event import Dimension

_STATE, _SENDER, _BEFORE, _AFTER = "schema_state", "sends", "before", "after"
#: By what it is shown who sends a version: what every version has.
_SENDERS = tuple(each for each in CHARTS if each.since == 1)
_DIFFERENCE = "Difference between versions"
#: The whole schema, in place of a path.
_ROOT = "(the whole schema)"


def show(feed: Feed, choice: Choice) -> None:
    """Show what is known of the versions; during an outage what was read before."""
    reading, state = feed.latest(choice.query), _read(feed)
    with st.container(key="schema_notices"):
        notices.show(reading, choice, feed.now())
    snapshot = reading.snapshot
    if snapshot is not None and snapshot.total:
        _show_adoption(snapshot, choice.zone)
    if state is None:
        return
    if choice.is_kiosk:
        # All of it on one screen: the tables beside each other.
        left, right = st.columns([2, 1])
        with left:
            _show_versions(state, reading, choice.zone, feed.now())
        with right:
            _show_dead_letters(state)
    else:
        _show_versions(state, reading, choice.zone, feed.now())
    if snapshot is not None and snapshot.total:
        _show_senders(feed, snapshot, choice)
    if choice.is_kiosk:
        _show_difference(state)
        return
    left, right = st.columns(2)
    with left:
        _show_difference(state)
    with right:
        _show_dead_letters(state)


def _read(feed: Feed) -> SchemaState | None:
    try:
        st.session_state[_STATE] = feed.pipeline.schemas()
    except DashboardError as error:
        known = " The schemas below were read before." if _STATE in st.session_state else ""
        st.warning(f"{error}{known}")
    return st.session_state.get(_STATE)


def _show_adoption(shown: Snapshot, zone: tzinfo) -> None:
    zone = figures.axis_zone(shown.window, zone)
    with st.container(border=True):
        charts.heading("Adoption of each version", f"share of events per {shown.window.bucket_words}, by event time")
        figure = schema_figures.adoption(shown.volume, shown.window, shown.marks, zone)
        chart.draw(figure, key="shares", alt=schema_figures.adoption_text(shown.volume))


def _show_versions(state: SchemaState, reading: Reading, zone: tzinfo, now: datetime) -> None:
    charts.heading("Versions", f"times in {formatting.zone_name(zone)}")
    st.markdown(_level(state, zone, now))
    counts = reading.snapshot.found.counts if reading.snapshot else None
    found = schema_versions.rows(state, counts)
    if found:
        cells = [_row(each, zone, now) for each in found]
        st.dataframe(cells, hide_index=True, width="stretch", height=tables.height(cells), key="versions_table")
    else:
        st.caption("none")


def _level(state: SchemaState, zone: tzinfo, now: datetime) -> str:
    if state.level is None:
        return "Compatibility level of the subject: unknown. A worker of this release writes it once a minute."
    subject, level = (formatting.literal(str(state.level[name])) for name in ("subject", "level"))
    read_at = formatting.instant(state.level["at"], today=now, zone=zone)
    advice = schema_versions.level_text(state.level["level"])
    return f"Compatibility level of {subject}: **{level}** (as of {read_at}). {advice}"


def _row(found: VersionRow, zone: tzinfo, now: datetime) -> dict[str, Any]:
    instants = {
        "first event": found.first_event_at,
        "last event": found.last_event_at,
        "first stored": found.first_stored_at,
    }
    return {
        "version": found.version,
        "schema id": found.schema_id,
        "events in range": _part(found.in_range),
        "events of all time": _part(found.stored),
        **{
            name: formatting.clock(at, today=now, zone=zone) if at else formatting.UNKNOWN
            for name, at in instants.items()
        },
    }


def _part(found: Part | None) -> str:
    return formatting.NONE if found is None else formatting.part(found)


def _show_senders(feed: Feed, shown: Snapshot, choice: Choice) -> None:
    versions = schema_versions.in_order({series.version for series in shown.volume if any(series.per_bucket)})
    # Where no control shows the version, the heading has it.
    which = address.one(_SENDER, versions) if choice.is_kiosk else "a version"
    charts.heading(f"Who sends {formatting.literal(which)}", f"in the {choice.query.chosen.words}")
    version = choices.pressed("Version", versions, key=_SENDER)
    query = Query(chosen=choice.query.chosen, filter=_only(version, choice.query.filter))
    found = feed.latest(query).snapshot
    if found is None or found.query != query:
        st.caption(formatting.UNKNOWN)
        return
    users = formatting.UNKNOWN if found.users is None else formatting.users(found.users)
    st.caption(f"Events: {formatting.count(found.total, found.total + found.possible)} · users: {users}")
    for column, dimension in zip(st.columns(len(_SENDERS)), _SENDERS, strict=True):
        with column.container(border=True, height="stretch"):
            _show_bars(feed, dimension, found, version)
    _show_clients(feed, found, choice.zone)


def _show_clients(feed: Feed, found: Snapshot, zone: tzinfo) -> None:
    charts.heading("Clients", f"by the headers of the newest {MOST_READ:,} events of the range")
    try:
        clients = feed.pipeline.clients(_window(feed, found), found.query.filter, found.overview.numbers)
    except DashboardError:
        # The notice at the top reports it.
        st.caption(formatting.UNKNOWN)
        return
    names = dict.fromkeys(name for each in clients for name in each.headers)
    # No name of a header has a space.
    rows = [
        {
            **{name: each.headers.get(name, "") for name in names},
            "number of events": each.n,
            "last event": formatting.clock(each.last_at, today=feed.now(), zone=zone),
        }
        for each in clients
    ]
    if rows:
        st.dataframe(rows, hide_index=True, width="stretch", key="clients_table")
    else:
        setting = variable("stored_headers")
        st.caption(f"None of these events has a header that is stored. {setting} names those that are, such as client.")


def _only(version: str, wanted: Filter) -> Filter:
    selected = {name: wanted.selected(name) for name in FILTERS}
    return Filter(**{**selected, SCHEMA_VERSION.plural: (version,)})


def _show_bars(feed: Feed, dimension: Dimension, found: Snapshot, version: str) -> None:
    title, parts, beside = str(dimension.chart), found.parts[dimension.plural], ""
    if not dimension.in_cells and not parts:
        sample = _sample(feed, found)
        if sample is None:
            charts.heading(title)
            st.caption(formatting.UNKNOWN)
            return
        parts = compute.parts_of(dimension.plural, sample.counts)
        beside = f"of the newest {MOST_READ:,} events of the range" if sample.is_cut else ""
    charts.heading(title, beside)
    if parts:
        alt = alt_texts.bars(f"{title} that send {version}", parts)
        chart.draw(figures.bars(parts), key=f"sends {title}", alt=alt)
    else:
        st.caption(f"none of {version}")


def _sample(feed: Feed, found: Snapshot) -> Sample | None:
    try:
        return feed.pipeline.sample(_window(feed, found), found.query.filter, found.overview.numbers)
    except DashboardError:
        # The notice at the top reports it.
        return None


def _window(feed: Feed, found: Snapshot) -> Window:
    """The window of the range now: that of a snapshot from before an outage would be kept as that of the range."""
    return time_window.window(found.query.chosen, feed.now())


def _show_difference(state: SchemaState) -> None:
    newest = [schema_versions.label_of(each) for each in state.versions][::-1]
    if len(newest) < 2:  # noqa: PLR2004 - two are compared
        charts.heading(_DIFFERENCE)
        st.caption("There are no two versions yet.")
        return
    latest, previous, *older = newest
    of_before, of_after = [previous, latest, *older], newest
    chosen = f"{address.one(_BEFORE, of_before)} → {address.one(_AFTER, of_after)}"
    charts.heading(_DIFFERENCE, chosen if address.is_kiosk() else "")
    left, right = st.columns(2)
    with left:
        before = choices.selected("From", of_before, key=_BEFORE)
    with right:
        after = choices.selected("To", of_after, key=_AFTER)
    old, new = state.document(before), state.document(after)
    if old is not None and new is not None:
        _show_changes(schema_versions.difference(old, new))


def _show_changes(found: Difference | str) -> None:
    if isinstance(found, str):
        st.info(found)
        return
    if not found.changes:
        st.markdown("No difference.")
    st.markdown("\n".join(f"- {_change(each)}" for each in found.changes))
    st.caption(f"The change is allowed under {found.allowed}. {first_to_upgrade(found.allowed)}")


def _change(change: Change) -> str:
    path, before, after = map(_line, (change.path or _ROOT, change.before or "none", change.after or "none"))
    if change.what is What.ADDED:
        return f":green[\\+ **{path}**: {after}]"
    if change.what is What.REMOVED:
        return f":red[− **{path}**: {before}]"
    return f"\\~ **{path}**, {change.what}: :red[{before}] → :green[{after}]"


def _line(text: str) -> str:
    return formatting.literal(" ".join(text.split()))


def _show_dead_letters(state: SchemaState) -> None:
    rows: Sequence[tuple[str, str, int]] = schema_versions.dead_letter_rows(state)
    charts.heading("Dead letters by schema")
    if rows:
        table = [{"schema": schema, "reason": reason, "events": n} for schema, reason, n in rows]
        st.dataframe(table, hide_index=True, width="stretch", height=tables.height(table), key="schema_letters")
    else:
        st.caption("none")
