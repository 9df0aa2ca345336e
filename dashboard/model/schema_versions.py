"""The versions of the schema as the page shows them: who uses which, and in what two of them differ; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dashboard.model import labels
from dashboard.model.snapshot import Part
from streamapp.compatibility.check import levels_of
from streamapp.compatibility.diff import changes_of
from streamapp.compatibility.json_form import UnusableSchemaError, from_text
from streamapp.compatibility.modes import Mode, first_to_upgrade, strictest
from streamapp.compatibility.validity import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from dashboard.model.health import Document
    from dashboard.model.snapshot import Counts, Series, VersionTime
    from streamapp.compatibility.diff import Change
    from streamapp.compatibility.schema import ParsedSchema

#: Keys of dead letters without the id of a known schema, and what they mean.
_NO_ID = {"none": "no schema id", "unknown": "unknown schema ids"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """What was read: documents as streamapp/mongodb/event_store.py and streamapp/monitoring/ write them."""

    #: Of the registered versions that were seen, in their order.
    versions: Sequence[Document] = ()
    #: Events of all time by the label of their version.
    stored: Mapping[str, int]
    times: Sequence[VersionTime] = ()
    #: The compatibility level of the subject; None: no worker has written it.
    level: Document | None = None
    #: One for each reason, with `schemas`, and `n` in all.
    dead_letters: Sequence[Document] = ()

    def document(self, version: str) -> Document | None:
        """The document of a version."""
        return next((found for found in self.versions if label_of(found) == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version."""

    version: str
    schema_id: int | None
    in_range: Part | None
    """None: the events of the range are not known, or there are none."""
    stored: Part
    first_event_at: datetime | None
    last_event_at: datetime | None
    first_stored_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """In what two schemas differ."""

    changes: Sequence[Change]
    allowed: Mode
    """The strictest level that allows the change."""


def label_of(version: Document) -> str:
    """The label of a document of `schema_versions`."""
    return f"v{version['version']}"


def rows(state: SchemaState, counts: Counts | None) -> Sequence[VersionRow]:
    """Return each version that was seen, in its order; then the events without a version."""
    in_range = Counter[str]()
    for (_, version), n in (counts.by_bucket if counts else {}).items():
        in_range[version] += n
    times = {name: (first, last) for name, first, last in state.times}
    return [
        _row(version, state, in_range, times.get(version, (None, None)))
        for version in in_order({*map(label_of, state.versions), *state.stored, *in_range, *times})
    ]


def in_order(versions: Iterable[str]) -> Sequence[str]:
    """Return labels of versions: the registered ones by their number, then the others."""
    return sorted(versions, key=_order)


def _order(version: str) -> tuple[bool, int, str]:
    number = labels.version_number(version)
    return number is None, number or 0, version


def _row(
    version: str, state: SchemaState, in_range: Counter[str], times: tuple[datetime | None, datetime | None]
) -> VersionRow:
    document, total, stored = state.document(version) or {}, in_range.total(), sum(state.stored.values())
    return VersionRow(
        version=version,
        schema_id=document.get("schema_id"),
        in_range=Part(label=version, n=in_range[version], of=total) if total else None,
        stored=Part(label=version, n=state.stored.get(version, 0), of=max(stored, 1)),
        first_event_at=times[0],
        last_event_at=times[1],
        first_stored_at=document.get("first_seen_at"),
    )


def shares(series: Sequence[Series]) -> Sequence[Sequence[float | None]]:
    """Return the share that each version has in each bucket; None in buckets without events."""
    totals = [sum(column) for column in zip(*(one.per_bucket for one in series), strict=True)]
    return [[n / of if of else None for n, of in zip(one.per_bucket, totals, strict=True)] for one in series]


def dead_letter_rows(state: SchemaState) -> Sequence[tuple[str, str, int]]:
    """Return schema, reason and number of the dead letters, most first; those counted before schemas were last."""
    names = {str(found["schema_id"]): label_of(found) for found in state.versions}
    found = [
        (_schema_name(key, names), str(each["_id"]), n)
        for each in state.dead_letters
        for key, n in each["schemas"].items()
    ]
    older = [
        ("not known", str(each["_id"]), rest)
        for each in state.dead_letters
        if (rest := each["n"] - sum(each["schemas"].values())) > 0
    ]
    return [*sorted(found, key=lambda row: (-row[2], row)), *older]


def _schema_name(key: str, names: Mapping[str, str]) -> str:
    return _NO_ID.get(key) or (f"{names[key]} (id {key})" if key in names else f"id {key}")


def difference(old: Document, new: Document) -> Difference | str:
    """Return in what two versions differ; or why that cannot be said."""
    return _difference(*((label_of(each), tuple(each.get("sources") or ())) for each in (old, new)))


@lru_cache(64)
def _difference(old: tuple[str, tuple[str, ...]], new: tuple[str, tuple[str, ...]]) -> Difference | str:
    try:
        before, after = (_parsed(*each) for each in (old, new))
        changes, levels = changes_of(before.root, after.root), levels_of(after, before)
    except (UnusableSchemaError, RecursionError) as exc:
        return f"The schemas cannot be compared. {exc}"
    return Difference(changes=changes, allowed=strictest(levels))


def _parsed(version: str, sources: Sequence[str]) -> ParsedSchema:
    if not sources:
        message = (
            f"The schema of {version} is not stored: a worker of this release stores it when it reads the first event "
            "of the version, unless it is longer than 262,144 characters."
        )
        raise UnusableSchemaError(message)
    *definitions, schema = map(from_text, sources)
    try:
        return parse(schema, definitions=definitions, is_registered=True)
    except UnusableSchemaError as exc:
        raise UnusableSchemaError(f"The schema of {version} cannot be read: {exc}") from exc


def level_text(level: str) -> str:
    """Return what a compatibility level asks for; "" for one that is not known."""
    return first_to_upgrade(Mode(level)) if level in {*Mode} else ""
