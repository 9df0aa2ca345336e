"""What is known of an event, as text and as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import click
from bson import json_util
from bson.json_util import RELAXED_JSON_OPTIONS

from streamapp.commands.schema_text import change_lines, diff_json
from streamapp.dlq.letter_text import bytes_text, columns, letter_json
from streamapp.explain.byte_layout import Layout, Span
from streamapp.explain.explanation import Diagnosis, Explanation, Fate, SchemaFacts
from streamapp.explain.reasons import ADVICE
from streamapp.model.record import HEADER_PREFIX, Reason
from streamapp.model.value_text import text_of

#: Bytes of a field that are shown in a line, and values that are listed.
_MAX_BYTES, _MAX_TEXT = 12, 100
#: Headers of a record that are listed.
_MAX_HEADERS = 20
#: Reasons that the bytes of a record cause.
_OF_BYTES = {Reason.TRUNCATED, Reason.UNDECODABLE}


def explanation_json(one: Explanation) -> Mapping[str, Any]:
    """Return what is known of an event as a JSON object; dates and binary values as MongoDB's Extended JSON."""
    return {
        "id": one.event_id,
        "fate": one.fate,
        "coordinates": {
            **one.origin._asdict(),
            "timestamp": one.origin.timestamp if one.origin.timestamp >= 0 else None,
        },
        "document": _extended(one.document),
        "dead_letter": _letter_json(one),
        "schema": _schema_json(one),
        "reader": [{**each._asdict(), "value": _extended(each.value)} for each in one.reader_changes()],
        "rollups": [
            {"collection": each.level.collection, "id": each.id, "n": each.n, "counts_it": each.counts_it}
            for each in one.buckets
        ],
        "record": _record_json(one),
        "notes": one.notes,
    }


def _extended(value: Any) -> Any:
    return json.loads(json_util.dumps(value, json_options=RELAXED_JSON_OPTIONS))


def _letter_json(one: Explanation) -> Mapping[str, Any] | None:
    if one.letter is None:
        return None
    return {
        **letter_json(one.letter),
        "meaning": ADVICE[one.letter.reason].meaning,
        "remedy": ADVICE[one.letter.reason].remedy,
        "now": one.diagnosis and {"problem": one.diagnosis.problem, "fits": one.diagnosis.fits},
    }


def _schema_json(one: Explanation) -> Mapping[str, Any]:
    facts: dict[str, Any] = {"id": one.schema_id, "version": None, "to_latest": None}
    if one.schema is not None:
        facts["version"] = one.schema.writer.version
        facts["schema"] = one.schema.named and one.schema.named.json
        if one.schema.named and one.schema.latest:
            differences = one.schema.changes(), one.schema.levels()
            facts["to_latest"] = diff_json(one.schema.named, one.schema.latest, *differences)
    return facts


def _record_json(one: Explanation) -> Mapping[str, Any] | None:
    if one.record is None:
        return None
    value, layout = one.record.value, one.layout
    return {
        "topic": one.record.topic,
        "partition": one.record.partition,
        "offset": one.record.offset,
        "value": _base64(value),
        "headers": [{"name": name, "value": _base64(each)} for name, each in one.record.headers],
        "fields": [
            {"from": each.start, "to": each.end, "field": each.what, "value": each.text}
            for each in (layout.spans if layout else ())
        ],
        "problem": layout.problem if layout else None,
        "problem_at": layout.problem_at if layout else None,
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def explanation_lines(one: Explanation) -> Iterator[str]:
    """Return what is known of an event as text, in sections."""
    yield f"{one.event_id}  {one.fate}"
    yield f"{one.origin.topic}, partition {one.origin.partition}, offset {one.origin.offset}"
    if one.fate is Fate.WAITING:
        yield "The workers have not read the record yet, or not committed it."
    if one.fate is Fate.MISSING:
        yield "The workers have committed the record; `streamapp verify` says whether it is lost or was deleted by age."
    yield from _letter_section(one)
    yield from _document_section(one)
    yield from _schema_section(one)
    yield from _record_section(one)
    yield from _header_section(one)
    yield from _bucket_section(one)
    if one.notes:
        yield from _section("Notes", one.notes)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield click.style(title, bold=True)
    yield from (f"  {line}" for line in lines)


def _letter_section(one: Explanation) -> Iterator[str]:
    letter = one.letter
    if letter is None:
        return
    facts = [
        ("reason", f"{letter.reason}: {ADVICE[letter.reason].meaning}"),
        ("error", _cut(letter.error)),
        *_places_of_problem(one.layout, letter.error),
        ("attempt", f"{letter.attempt}, failed at {letter.failed_at:%Y-%m-%dT%H:%M:%SZ}"),
        ("dead letter", f"{letter.partition}:{letter.offset}"),
        ("remedy", ADVICE[letter.reason].remedy),
        *_diagnosis_facts(one.diagnosis, letter.reason),
    ]
    title = "Why it failed" if one.document is None else "Why it failed, before it was replayed and stored"
    yield from _section(title, columns(facts))


def _places_of_problem(layout: Layout | None, error: str) -> Iterator[tuple[str, str]]:
    if layout and layout.problem and layout.problem_at:
        start, end = layout.problem_at
        yield "bytes", f"{_range(start, end)}: {layout.problem}"
    elif layout:
        for span in layout.named_in(error):
            yield "bytes", f"{_range(span.start, span.end)}: {span.what}, {span.text}"


def _diagnosis_facts(found: Diagnosis | None, reason: Reason) -> Iterator[tuple[str, str]]:
    if found is None:
        return
    if found.problem is None and reason is not Reason.REFUSED_BY_STORE:
        yield "now", "A worker could read the record now: `streamapp dlq replay` sends it again."
    if found.problem is not None and reason in _OF_BYTES and found.fits:
        versions = ", ".join(found.fits)
        yield "fits", f"The bytes are a whole event of {versions}: the producer may have sent a wrong schema id."


def _document_section(one: Explanation) -> Iterator[str]:
    if one.document is None:
        return
    yield from _section("Document", columns([*_flat(one.document)]))
    if changes := one.reader_changes():
        rows = [
            (each.action, _cut(each.path), _cut(each.before or ""), _cut(text_of(each.value) or "null"))
            for each in changes
        ]
        yield from _section("What the worker added, renamed or moved", columns(rows))


def _flat(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _flat(cast("Mapping[str, Any]", value), f"{path}{name}.")
        else:
            yield _cut(f"{path}{name}"), _cut(text_of(value) or ("null" if value is None else ""))


def _schema_section(one: Explanation) -> Iterator[str]:
    if one.schema is None:
        return
    yield from _section(f"Schema {one.schema.writer.version}, id {one.schema_id}", _diff_lines(one.schema))


def _diff_lines(facts: SchemaFacts) -> Iterator[str]:
    if facts.named and facts.latest:
        if facts.changes():
            yield from change_lines(facts.named, facts.latest, facts.changes(), facts.levels())
        else:
            yield f"It does not differ from the latest one, {facts.latest.label}."


def _record_section(one: Explanation) -> Iterator[str]:
    if one.record is None:
        yield from _section("Bytes", [f"{one.record_problem}."])
    elif one.record.value is None:
        yield from _section("Bytes", ["The value is null."])
    elif one.layout is not None:
        yield from _section(f"Bytes ({len(one.record.value)})", _byte_lines(one.record.value, one.layout))


def _header_section(one: Explanation) -> Iterator[str]:
    """Return those of the record's producer: the section of a dead letter has the others."""
    every = one.record.headers if one.record is not None else ()
    if headers := [(name, value) for name, value in every if not name.startswith(HEADER_PREFIX)]:
        rows = [(_cut(name), _cut(bytes_text(value))) for name, value in headers[:_MAX_HEADERS]]
        more = len(headers) - _MAX_HEADERS
        yield from _section("Headers", [*columns(rows), *([f"… {more} more"] if more > 0 else [])])


def _byte_lines(value: bytes, layout: Layout) -> Sequence[str]:
    rows = [_byte_cells(value, span) for span in layout.spans]
    if layout.problem and layout.problem_at:
        rows.append(_byte_cells(value, Span(*layout.problem_at, "!", layout.problem)))
    return [*columns(rows), *(["…"] if layout.is_cut else [])]


def _byte_cells(value: bytes, span: Span) -> Sequence[str]:
    shown = value[span.start : span.end]
    more = "…" if len(shown) > _MAX_BYTES else ""
    return _range(span.start, span.end), f"{shown[:_MAX_BYTES].hex(' ')}{more}", _cut(span.what), span.text


def _range(start: int, end: int) -> str:
    return str(start) if end - start <= 1 else f"{start}–{end - 1}"


def _bucket_section(one: Explanation) -> Iterator[str]:
    rows = [
        (
            each.level.collection,
            each.id,
            "no rollup" if each.n is None else f"{each.n:,} events",
            _counts(each.counts_it),
        )
        for each in one.buckets
    ]
    if rows:
        yield from _section("Rollups", columns(rows))


def _counts(counts_it: bool) -> str:
    return "counts it" if counts_it else "does not count it (deleted by age, or not counted yet)"


def _cut(text: str) -> str:
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
