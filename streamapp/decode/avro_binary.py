"""Read numbers and lengths of Avro's binary encoding; called by the code that `streamapp.decode.transcoder` generates.

Source: Avro specification 1.12, "Binary Encoding".
"""

from __future__ import annotations

import struct

_SIX_BYTES = struct.Struct("6B").unpack_from
#: A tenth byte may make a number larger than 64 bits.
_MAX_SHIFT = 56


class NotOnFastPathError(Exception):
    """The fast path does not support this schema or this body; the generic path decodes it or reports the error."""


def number(value: bytes, at: int) -> tuple[int, int]:
    """The int or long that begins at `at`, and the index after it."""
    byte = value[at]
    found, shift = byte & 127, 7
    while byte & 128:
        if shift > _MAX_SHIFT:
            raise NotOnFastPathError
        at += 1
        byte = value[at]
        found |= (byte & 127) << shift
        shift += 7
    if not byte and shift > 7:  # noqa: PLR2004 - more bytes than the number needs
        raise NotOnFastPathError
    return (found >> 1) ^ -(found & 1), at + 1


def time(value: bytes, at: int) -> tuple[int, int]:
    """The same as `number`, faster for six bytes: the length of epoch milliseconds until the year 2039."""
    try:
        a, b, c, d, e, f = _SIX_BYTES(value, at)
    except struct.error:  # fewer than six bytes are left
        return number(value, at)
    if not a & b & c & d & e & 128 or not 0 < f < 128:  # noqa: PLR2004 - the last byte, and not one too many
        return number(value, at)
    found = a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28 | f << 35
    return (found >> 1) ^ -(found & 1), at + 6


def length(value: bytes, at: int) -> tuple[int, int]:
    """The length of a string, and the index at which the string begins."""
    found, at = number(value, at)
    if found < 0:
        raise NotOnFastPathError
    return found, at
