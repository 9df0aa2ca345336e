"""The compiled kernel: converts the records of a batch to documents without the interpreter lock.

It is built from the C sources in `kernel/` when the project is installed, if there is a compiler. Without it,
`streamapp.decode.fast_path` converts the records, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from streamapp.decode.avro_schema import ParsedSchema
from streamapp.decode.kernel_program import NULLABLE, ORDER, WRITER_DIMENSIONS, program_of

#: The version of the interface below, in kernel/module.c, too: a file of another version is not used.
VERSION = 1
_MODULE = "streamapp.decode._kernel"


class Kernel(Protocol):
    """The extension module, see kernel/module.c."""

    VERSION: int

    def program(
        self, words: bytes, blob: bytes, root: int, dimensions: int, nullable: int, order: Sequence[int], version: str
    ) -> object:
        """A program in the kernel's memory."""
        ...

    def documents(
        self,
        records: list[Any],
        writers: Mapping[bytes, tuple[object, bytes]],
        id_start: bytes,
        kafka_start: bytes,
        earliest: int,
        latest: int,
        ahead: int,
        document: type[Any],
        dimensions: Callable[..., Any],
    ) -> tuple[list[Any], list[str | None], int]:
        """The documents and the schema version of each, None for declined records, and how many are declined.

        Args:
            records: the records of a batch.
            writers: five bytes of header → program, and the BSON elements between the event's own and `kafka`.
            id_start: the `_id` before the offset.
            kafka_start: the BSON elements of `kafka` before the offset.
            earliest: see `EventTimes`; all three are 64 bits.
            latest: likewise.
            ahead: likewise.
            document: the class of the documents.
            dimensions: makes the values of the dimensions.
        """
        ...


def load() -> Kernel | None:
    """The kernel; None if it was not built, or if this Python cannot load it."""
    try:
        found = cast("Kernel", import_module(_MODULE))
    except ImportError:
        return None
    return found if found.VERSION == VERSION else None


#: The kernel of this process.
KERNEL = load()


def compiled(schema: ParsedSchema, *, version: str) -> object:
    """The program of an event's schema in the kernel's memory; None if there is no kernel, or if it declines all."""
    program = program_of(schema) if KERNEL else None
    if KERNEL is None or program is None:
        return None
    return KERNEL.program(*program, WRITER_DIMENSIONS, NULLABLE, ORDER, version)
