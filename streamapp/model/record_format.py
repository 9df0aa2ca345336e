"""The integers and byte strings of Kafka's records.

Source: Kafka documentation, "Message Format".
"""

from __future__ import annotations


def varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Read a zigzag integer of at most 64 bits; it, and where it ends. Raises ValueError and IndexError."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
            return (number >> 1) ^ -(number & 1), at
    raise ValueError(at)


def nullable_bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    """Read bytes after their length, or null; them, and where they end. Raises ValueError and IndexError."""
    length, at = varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise ValueError(length)
    return data[at : at + length], at + length
