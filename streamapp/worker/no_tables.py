"""Faust's table manager, for an app without tables."""

from __future__ import annotations

from faust.tables import TableManager


class NoTables(TableManager):
    """Lets the consumer subscribe at once; Faust gives agents a second to define tables."""

    async def on_start(self) -> None:
        """Start the service that resumes the partitions after each rebalance."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
