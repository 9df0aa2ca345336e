"""Dead letters without value or key: their record did not fit into the dead-letter topic."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from streamapp.model.record import HEADER_PREFIX, Record, streamapp_headers

#: Bytes of the start and of the end that are kept.
_KEPT_BYTES = 64

#: The headers of what is omitted, without the prefix.
OMITTED_HEADERS = (
    *(f"{part}_{name}" for part in ("value", "key") for name in ("omitted", "size", "sha256", "start", "end")),
    "headers_omitted",
)


def omitted_headers(part: str, content: bytes | None) -> list[tuple[str, bytes | None]]:
    """The headers in place of a record's value or key; none if there is none."""
    if content is None:
        return []
    values = {
        "omitted": b"true",
        "size": b"%d" % len(content),
        "sha256": sha256(content).hexdigest().encode(),
        "start": content[:_KEPT_BYTES],
        "end": content[-_KEPT_BYTES:],
    }
    return [(f"{HEADER_PREFIX}{part}_{name}", value) for name, value in values.items()]


def is_omitted(record: Record) -> bool:
    """Whether a dead letter lacks the value or more of its record."""
    headers = streamapp_headers(record.headers)
    return record.value is None and not headers.keys().isdisjoint({"value_omitted", "key_omitted", "headers_omitted"})


def omitted_size(record: Record) -> int:
    """Bytes of key and value that a dead letter lacks."""
    headers = streamapp_headers(record.headers)
    sizes = (headers.get("value_size", b""), headers.get("key_size", b""))
    return sum(int(size) for size in sizes if size.isdigit() and len(size) <= 10) if is_omitted(record) else 0  # noqa: PLR2004


def is_original(letter: Record, record: Record) -> bool:
    """Whether a record has the value and the key that a dead letter lacks."""
    headers = streamapp_headers(letter.headers)
    pairs = (("value", letter.value, record.value), ("key", letter.key, record.key))
    return all(
        _digest(found) == headers.get(f"{part}_sha256") if f"{part}_omitted" in headers else kept == found
        for part, kept, found in pairs
    )


def restored_headers(letter: Record, record: Record) -> Sequence[tuple[str, bytes | None]]:
    """The headers of a dead letter that has the content of its record again."""
    names = {HEADER_PREFIX + name for name in OMITTED_HEADERS}
    kept = [(name, value) for name, value in letter.headers if name not in names]
    lost = f"{HEADER_PREFIX}headers_omitted" in dict(letter.headers)
    ours = {name for name, _ in kept}
    return [*((name, value) for name, value in record.headers if name not in ours), *kept] if lost else kept


def _digest(content: bytes | None) -> bytes | None:
    return None if content is None else sha256(content).hexdigest().encode()
