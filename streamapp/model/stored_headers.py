"""Headers of records that documents keep, in `kafka.headers`.

Producers choose the headers of their records, so the names of the fields come from a setting, and the values become
short texts.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Mapping, Sequence

from streamapp.model.record import HEADER_PREFIX

#: Headers of a record that are read, the first ones.
MAX_HEADERS = 64
#: The fast path takes records with at most so many headers: 4,000 of them take some 70 ms of the event loop.
MAX_FAST_HEADERS = 16
#: Bytes of a value that are kept.
MAX_VALUE_BYTES = 256
#: The setting for no headers.
_NONE = "none"

#: Name of a header → name of its field in `kafka.headers`.
HeaderFields = Mapping[str, str]
NO_FIELDS: HeaderFields = {}
Headers = Sequence[tuple[str, bytes | None]]


def header_fields(setting: str) -> HeaderFields:
    """The fields of the headers that a setting names, separated by commas; a dot has a meaning for MongoDB."""
    names = () if setting == _NONE else setting.split(",")
    return {name: name.replace(".", "%2E") for name in names}


def header_name(field: str) -> str:
    """The name of the header of a field."""
    return field.replace("%2E", ".")


def is_ordinary(headers: Headers) -> bool:
    """Whether the fast path takes a record with these headers: few, and none of a replayed dead letter."""
    return len(headers) <= MAX_FAST_HEADERS and not any(name.startswith(HEADER_PREFIX) for name, _ in headers)


def stored_headers(headers: Headers, fields: HeaderFields) -> dict[str, str]:
    """The value of each field, in the order of `fields`; that of the last header if several have the name."""
    found = {name: value for name, value in headers[:MAX_HEADERS] if value is not None and name in fields}
    return {field: _text(found[name]) for name, field in fields.items() if name in found}


def _text(value: bytes) -> str:
    """A value as text, in hexadecimal if it is not UTF-8; a long one is cut, and ends with "…"."""
    is_cut = len(value) > MAX_VALUE_BYTES
    try:
        text, _ = utf_8_decode(value[:MAX_VALUE_BYTES], "strict", not is_cut)
    except UnicodeDecodeError:
        is_cut = len(value) > MAX_VALUE_BYTES // 2
        text = f"0x{value[: MAX_VALUE_BYTES // 2].hex()}"
    return f"{text}…" if is_cut else text
