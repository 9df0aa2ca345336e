"""Unpack compressed records in chunks of bounded size: a few kilobytes can unpack to gigabytes.

Source: Kafka documentation, "Message Format"; snappy-java, "SnappyOutputStream" for its stream format.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lz4.frame  # pyright: ignore[reportMissingTypeStubs]
import zstandard
from aiokafka import codec

#: Bytes of a chunk, at the most.
CHUNK_BYTES = 256 * 1024
#: The most bytes that are unpacked of a batch; the rest becomes a dead letter.
MAX_UNPACKED_BYTES = 1024**3
#: Zstandard has its window in memory while it unpacks. Levels up to 19 use windows up to the first size; the second one
#: is that of the highest level.
_SMALL_WINDOW, _MAX_WINDOW = 2**23, 2**27
#: A block of Snappy is unpacked as a whole. Snappy packs 64 bytes into three at best.
_MAX_SNAPPY_BLOCK, _MAX_SNAPPY_RATIO = 128 * 1024 * 1024, 22
#: Magic bytes, version and compatible version of snappy-java's stream, which are followed by blocks with their length.
_SNAPPY_STREAM, _SNAPPY_STREAM_BEGIN = b"\x82SNAPPY\0", 16

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


class UnpackError(Exception):
    """The records cannot be unpacked, or are too large."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""
        ...


def unpacked(compression: int, data: bytes) -> Iterator[bytes]:
    """Yield the uncompressed bytes in chunks.

    Raises:
        Exception: the bytes are not compressed in this way; a library of a codec raises errors of its own.
        UnpackError: they unpack to more than MAX_UNPACKED_BYTES, or the codec is unknown.
    """
    total = 0
    for chunk in _chunks(compression, data):
        total += len(chunk)
        if total > MAX_UNPACKED_BYTES:
            message = f"more than {MAX_UNPACKED_BYTES} bytes"
            raise UnpackError(message)
        yield chunk


def needs_large_window(compression: int, data: bytes) -> bool:
    """Whether unpacking takes much memory; raises an error of Zstandard if the bytes are not compressed with it."""
    return compression == ZSTD and _window(data) > _SMALL_WINDOW


def _window(data: bytes) -> int:
    return zstandard.get_frame_parameters(data).window_size


def _chunks(compression: int, data: bytes) -> Iterator[bytes]:
    if compression == NONE:
        return _slices(data)
    if compression == SNAPPY:
        return _snappy_chunks(data)
    if compression == LZ4 and len(data) <= CHUNK_BYTES:
        return _lz4_chunks(data)
    if compression not in _STREAMS:
        message = f"unknown codec {compression}"
        raise UnpackError(message)
    stream = _STREAMS[compression](data)
    return iter(lambda: stream.read(CHUNK_BYTES), b"")


def _zstd(data: bytes) -> _Stream:
    # The window of the first frame is that of all frames.
    decompressor = zstandard.ZstdDecompressor(max_window_size=min(max(_window(data), _SMALL_WINDOW), _MAX_WINDOW))
    return decompressor.stream_reader(data, read_across_frames=True)


def _lz4_chunks(data: bytes) -> Iterator[bytes]:
    """What the stream yields, in less time; each step copies what is left of the data."""
    frame: Any = lz4.frame.LZ4FrameDecompressor()
    while not frame.eof:
        chunk, data = frame.decompress(data, CHUNK_BYTES), b""
        if chunk:
            yield chunk
        elif not frame.eof:
            message = "a frame ends early"
            raise UnpackError(message)
    if frame.unused_data:  # clients write one frame
        stream = _lz4(frame.unused_data)
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")


def _lz4(data: bytes) -> _Stream:
    stream: Any = lz4.frame.LZ4FrameFile(io.BytesIO(data))
    return stream


def _gzip(data: bytes) -> _Stream:
    return gzip.GzipFile(fileobj=io.BytesIO(data))


_STREAMS: dict[int, Callable[[bytes], _Stream]] = {GZIP: _gzip, LZ4: _lz4, ZSTD: _zstd}


def _snappy_chunks(data: bytes) -> Iterator[bytes]:
    for block in _snappy_blocks(data):
        size = _snappy_size(block)
        if size > min(_MAX_SNAPPY_BLOCK, _MAX_SNAPPY_RATIO * len(block)):
            message = f"a Snappy block of {size} bytes"
            raise UnpackError(message)
        yield from _slices(codec.snappy_decode(block))


def _snappy_blocks(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_SNAPPY_STREAM):
        yield data
        return
    at = _SNAPPY_STREAM_BEGIN
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _snappy_size(block: bytes) -> int:
    """The size after unpacking, with which a block begins."""
    size = 0
    for index, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
            break
    return size


def _slices(data: bytes) -> Iterator[bytes]:
    return (data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))
