"""`python -m benchmarks.without_rollups worker …`: the worker as it is, but that it counts nothing.

Not a setting: a worker without rollups is of no use but to be measured against.
"""

from __future__ import annotations

import asyncio

from streamapp import upstream
from streamapp.__main__ import main


class DoneAtOnce:
    """An accumulator that forgets what is entered."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def add(self, *_: object) -> asyncio.Future[None]:
        """See `Accumulator.add`."""
        applied = asyncio.get_running_loop().create_future()
        applied.set_result(None)
        return applied


if __name__ == "__main__":
    setattr(upstream, "Accumulator", DoneAtOnce)  # noqa: B010 - a type checker would refuse the other class
    main()
