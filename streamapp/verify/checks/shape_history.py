"""The shapes that the document of an event may have: the latest schema differed when it was stored or migrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from streamapp.decode.earlier_shapes import as_written
from streamapp.decode.shape import RecordShape, only_record
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, shape_between


class _Shapes(NamedTuple):
    writer: WriterSchema
    #: The writer schema in its latest shape.
    latest: WriterSchema
    all: Sequence[RecordShape]


class ShapeHistory:
    """The shapes of documents, by the schema of their event.

    Args:
        latest: all schemas that were the latest one, the last one first.
    """

    def __init__(self, latest: Sequence[WriterSchema] = ()) -> None:
        self._latest = latest
        self._by_id: dict[int, _Shapes] = {}

    def variants(self, writer: WriterSchema) -> Iterator[WriterSchema]:
        """The schema in its latest shape, which most documents have, and last as written."""
        if (latest := self._of(writer).latest) is not writer:
            yield latest
        yield writer

    def as_written(self, document: dict[str, Any], writer: WriterSchema) -> Mapping[str, Any]:
        """The document as if it were stored as written, see `earlier_shapes.as_written`."""
        record = only_record(writer.parsed.root) if writer.parsed else None
        shapes = self._of(writer).all
        if record is None or not shapes:
            return document
        return as_written(document, record, shapes)

    def _of(self, writer: WriterSchema) -> _Shapes:
        known = self._by_id.get(writer.schema_id)
        if known is None or known.writer is not writer:
            shapes = [shape_between(writer, each) for each in self._latest]
            latest = in_shape_of(writer, self._latest[0]) if self._latest else writer
            known = _Shapes(writer, latest, [each for each in shapes if not each.is_as_written])
            self._by_id[writer.schema_id] = known
        return known
