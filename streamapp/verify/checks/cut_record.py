"""Compare a record with the dead letter of one that is too large, or has too many headers.

Such a dead letter has the first bytes of the record as Kafka stores it, or the value without key and headers.
"""

from __future__ import annotations

from typing import NamedTuple

from streamapp.model.record import UNREADABLE, Record

#: Bytes of the record that are kept and compared.
_KEPT_BYTES = 1024
#: The bit of a byte after which more bytes of the number follow.
_MORE_FOLLOWS = 0x80


class CutRecord(NamedTuple):
    """What a dead letter has of a record."""

    #: Its first bytes, and how many it has.
    start: bytes
    size: int

    def is_of(self, record: Record) -> bool:
        """Whether these are bytes of a record with this key and value."""
        value = record.value or b""
        is_value = self.size == len(value) and value.startswith(self.start)
        return is_value or _is_start_of(self.start, record)


def cut_record_in(letter: Record) -> CutRecord | None:
    """What a dead letter has of its record if it may not have all of it; None if it has."""
    if letter.key is not None or letter.value is None or not letter.value.startswith(UNREADABLE):
        return None
    size = len(letter.value) - len(UNREADABLE)
    return CutRecord(letter.value[len(UNREADABLE) :][:_KEPT_BYTES], size)


def _is_start_of(start: bytes, record: Record) -> bool:
    at = 1  # the attributes are one byte; then come time and offset within the batch
    for _ in range(2):
        while at < len(start) and start[at] & _MORE_FOLLOWS:
            at += 1
        at += 1
    found, expected = start[at:], _field(record.key) + _field(record.value)
    return found != b"" and found.startswith(expected[: len(found)])


def _field(content: bytes | None) -> bytes:
    """The length of a key or value as Kafka stores it, and its first bytes."""
    return _varint(-1) if content is None else _varint(len(content)) + content[:_KEPT_BYTES]


def _varint(number: int) -> bytes:
    left, found = number << 1 ^ number >> 63, bytearray()
    while left >= _MORE_FOLLOWS:
        found.append(left & 0x7F | _MORE_FOLLOWS)
        left >>= 7
    return bytes([*found, left])
