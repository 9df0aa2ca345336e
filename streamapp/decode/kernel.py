"""The compiled kernel: finds the records of a batch, and converts them to documents without the interpreter lock.

It is built from the C sources in `kernel/` when the project is installed, if there is a compiler. Without it, aiokafka
reads the records, and `streamapp.decode.fast_path` converts them, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from streamapp.decode.avro_schema import ParsedSchema
from streamapp.decode.kernel_program import NULLABLE, ORDER, WRITER_DIMENSIONS, Program, program_of
from streamapp.model.record_columns import Piece, RecordKernel

#: The version of the interface below, in kernel/module.c, too: a file of another version is not used.
VERSION = 2
_MODULE = "_streamapp_kernel"


class Kernel(RecordKernel, Protocol):
    """The extension module, see kernel/module.c."""

    VERSION: int

    def program(self, program: Program, dimensions: tuple[int, int, Sequence[int]], version: str) -> object:
        """A program in the kernel's memory.

        Args:
            program: the program of a writer schema.
            dimensions: WRITER_DIMENSIONS, NULLABLE and ORDER.
            version: the schema version.
        """
        ...

    def documents(
        self,
        records: list[Any] | tuple[Piece, ...],
        writers: Mapping[bytes, tuple[object, bytes]],
        constants: tuple[bytes, bytes, int, int, int],
        document: type[Any],
        dimensions: Callable[..., Any],
    ) -> tuple[list[Any], list[str | None], int]:
        """The documents and the schema version of each, None for declined records, and how many are declined.

        Args:
            records: the records of a batch, or its pieces.
            writers: five bytes of header → program, and the BSON elements between the event's own and `kafka`.
            constants: the `_id` and the BSON elements of `kafka`, each before the offset; the `EventTimes` in 64 bits.
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
#: What converts the records of the fast path, for people.
COMPILED, GENERATED = "compiled", "python"


def chosen(*, is_wanted: bool) -> Kernel | None:
    """The kernel that a worker uses."""
    return KERNEL if is_wanted else None


def decoder(kernel: Kernel | None) -> str:
    """What converts the records with this kernel, or without one."""
    return COMPILED if kernel else GENERATED


def compiled(schema: ParsedSchema, *, version: str) -> object:
    """The program of an event's schema in the kernel's memory; None if there is no kernel, or if it declines all."""
    program = program_of(schema) if KERNEL else None
    if KERNEL is None or program is None:
        return None
    try:
        return KERNEL.program(program, (WRITER_DIMENSIONS, NULLABLE, ORDER), version)
    except Exception:  # noqa: BLE001 - such as more dimensions than it can hold: the other paths read the schema
        return None
