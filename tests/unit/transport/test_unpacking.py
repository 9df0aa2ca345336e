"""Compressed records are unpacked in chunks of bounded size."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc

import lz4.frame
import pytest
import zstandard
from aiokafka import codec

from streamapp.transport import unpacking
from streamapp.transport.unpacking import (
    CHUNK_BYTES,
    GZIP,
    LZ4,
    NONE,
    SNAPPY,
    ZSTD,
    UnpackError,
    needs_large_window,
    unpacked,
)

PACK = {
    NONE: bytes,
    GZIP: codec.gzip_encode,
    SNAPPY: codec.snappy_encode,
    LZ4: codec.lz4_encode,
    ZSTD: codec.zstd_encode,
}
LARGE = b"0123456789abcdef" * 65_536


@pytest.mark.parametrize("compression", PACK)
def test_what_was_packed_is_unpacked_in_chunks(compression: int) -> None:
    """Each chunk has at most CHUNK_BYTES."""
    chunks = [*unpacked(compression, PACK[compression](LARGE))]

    assert LARGE == b"".join(chunks)
    assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize("compression", [GZIP, LZ4, ZSTD])
def test_frames_after_each_other_are_unpacked(compression: int) -> None:
    """As the codecs of aiokafka do."""
    assert b"one two" == b"".join(unpacked(compression, PACK[compression](b"one ") + PACK[compression](b"two")))


def stream(data: bytes) -> bytes | None:
    """Return what the stream of lz4 yields; None for an error."""
    try:
        return lz4.frame.LZ4FrameFile(io.BytesIO(data)).read()
    except (RuntimeError, EOFError):
        return None


def small(data: bytes) -> bytes | None:
    """Return the same of `unpacked`."""
    try:
        return b"".join(unpacked(LZ4, data))
    except (RuntimeError, UnpackError, EOFError):
        return None


def test_small_frames_of_lz4_are_unpacked_like_those_of_the_stream() -> None:
    """Also broken ones, those that are cut off, and bytes after the last one."""
    rng, frames = random.Random(1), [codec.lz4_encode(each) for each in (b"", b"one", b"two" * 90, LARGE[:600_000])]
    for _ in range(400):
        data = bytearray(b"".join(rng.choices(frames, k=rng.randint(1, 3))))
        if rng.random() < 0.7:
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        if data:
            assert stream(bytes(data)) == small(bytes(data)), data.hex()


def test_snappy_without_a_stream_is_unpacked() -> None:
    """librdkafka sends one block."""
    assert LARGE == b"".join(unpacked(SNAPPY, bytes(codec.snappy_encode(LARGE, xerial_compatible=False))))


@pytest.mark.parametrize("compression", [GZIP, LZ4, ZSTD])
def test_memory_does_not_grow_with_what_is_unpacked(compression: int) -> None:
    """64 MiB are unpacked within 12 MiB; a block of LZ4 has up to 4 MiB."""
    packed, total = PACK[compression](bytes(64 * 1024 * 1024)), 0
    tracemalloc.start()
    try:
        for chunk in unpacked(compression, packed):
            total += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert total == 64 * 1024 * 1024
    assert peak < 12 * 1024 * 1024


@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4, ZSTD])
def test_more_than_the_limit_is_refused(compression: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before it was yielded."""
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", len(LARGE) - 1)
    found = unpacked(compression, PACK[compression](LARGE))

    with pytest.raises(UnpackError, match="more than"):
        assert LARGE.startswith(b"".join(found))


@pytest.mark.parametrize("size", [2**27 + 1, 2**32 - 1])
def test_a_snappy_block_that_claims_a_size_that_it_cannot_have_is_refused(size: int) -> None:
    """The library would reserve the memory first."""
    claim = b""
    while size >= 0x80:
        claim, size = claim + bytes([size & 0x7F | 0x80]), size >> 7
    claim += bytes([size])
    stream = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)

    for data in (claim + bytes(50), stream + struct.pack(">i", 50 + len(claim)) + claim + bytes(50)):
        with pytest.raises(UnpackError, match="Snappy"):
            list(unpacked(SNAPPY, data))


@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("packed", [b"\xff" * 100, b"\x1f\x8b" + bytes(100)])
def test_what_is_not_packed_is_an_error(compression: int, packed: bytes) -> None:
    """The libraries have errors of their own."""
    with pytest.raises(Exception, match=r".+"):
        list(unpacked(compression, packed))


@pytest.mark.parametrize(("window_log", "is_large"), [(23, False), (24, True), (27, True)])
def test_windows_of_all_levels_are_supported(window_log: int, is_large: bool) -> None:
    """Level 19 of Zstandard uses one of 2**23 bytes, level 22 one of 2**27."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(LARGE) + packer.flush()

    assert is_large == needs_large_window(ZSTD, packed)
    assert LARGE == b"".join(unpacked(ZSTD, packed))


def test_an_unknown_codec_is_an_error() -> None:
    """Three bits hold the codec."""
    with pytest.raises(UnpackError, match="unknown codec 7"):
        list(unpacked(7, b"a"))
