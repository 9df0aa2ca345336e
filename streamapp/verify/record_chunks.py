"""The records of a partition in chunks, of which each is compared with one query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamapp.model.record import TopicRecord

#: Records per chunk, and bytes of their values.
MAX_RECORDS = 5_000
MAX_BYTES = 16 * 1024 * 1024


def chunks(records: Iterator[TopicRecord]) -> Iterator[Sequence[TopicRecord]]:
    """Yield the records in chunks of bounded size."""
    chunk: list[TopicRecord] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.value or b"")
        if len(chunk) >= MAX_RECORDS or size >= MAX_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
