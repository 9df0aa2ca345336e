"""`python -m benchmarks.without rollups|metrics worker …`: the worker without one of its parts.

This is not a setting: a worker without rollups or metrics is useful for measurements only.
"""

from __future__ import annotations

import asyncio
import sys

from streamapp.__main__ import main
from streamapp.monitoring.sink_metrics import SinkMetrics
from streamapp.worker import dependencies


class DoneAtOnce:
    """A rollup writer that discards what is added."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def add(self, *_: object) -> asyncio.Future[None]:
        """See `RollupWriter.add`."""
        applied = asyncio.get_running_loop().create_future()
        applied.set_result(None)
        return applied

    async def high_watermark(self, *_: object) -> int:
        """See `RollupWriter.high_watermark`."""
        return -1


class NoMetrics(SinkMetrics):
    """Metrics that count nothing."""

    def stored(self, *_: object) -> None:
        """See `SinkMetrics.stored`."""

    def settled(self, *_: object) -> None:
        """See `SinkMetrics.settled`."""

    def inserted(self, *_: object) -> None:
        """See `SinkMetrics.inserted`."""


_INSTEAD = {"rollups": ("RollupWriter", DoneAtOnce), "metrics": ("SinkMetrics", NoMetrics)}


if __name__ == "__main__":
    setattr(dependencies, *_INSTEAD[sys.argv.pop(1)])
    main()
