"""Compare a record with the first bytes of one, as Kafka stores it.

The dead letter of a record that is too large, or has too many headers, has no more of it.
"""

from __future__ import annotations

from streamapp.model.record import UNREADABLE, Record

#: Bytes of the record that are kept and compared.
_KEPT_BYTES = 1024
#: The bit of a byte after which more bytes of the number follow.
_MORE_FOLLOWS = 0x80


def start_in(letter: Record) -> bytes | None:
    """The first bytes of the record in a dead letter that has no more of it; None if it has the record."""
    if letter.key is not None or not (letter.value or b"").startswith(UNREADABLE):
        return None
    return (letter.value or b"")[len(UNREADABLE) : len(UNREADABLE) + _KEPT_BYTES]


def is_start_of(start: bytes, record: Record) -> bool:
    """Whether the bytes are the first ones of a record with this key and value."""
    at = 1  # the attributes are one byte; then come time and offset within the batch
    for _ in range(2):
        while at < len(start) and start[at] & _MORE_FOLLOWS:
            at += 1
        at += 1
    found, expected = start[at:], _field(record.key) + _field(record.value)
    return found.startswith(expected[: len(found)])


def _field(content: bytes | None) -> bytes:
    """The length of a key or value as Kafka stores it, and its first bytes."""
    return _varint(-1) if content is None else _varint(len(content)) + content[:_KEPT_BYTES]


def _varint(number: int) -> bytes:
    left, found = number << 1 ^ number >> 63, bytearray()
    while left >= _MORE_FOLLOWS:
        found.append(left & 0x7F | _MORE_FOLLOWS)
        left >>= 7
    return bytes([*found, left])
