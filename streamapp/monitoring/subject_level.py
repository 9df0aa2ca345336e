"""Write the compatibility level of the subject to `pipeline_state`, for the dashboard.

One document, `_id` "subject:<subject>": kind "subject", subject, level, at. It stays as it is while the registry does
not answer, or refuses access to its configuration; a TTL index deletes it after a week.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pymongo

from streamapp.errors import StreamappError
from streamapp.mongodb.client import Mongo
from streamapp.monitoring.heartbeat import COLLECTION, WRITE_TIMEOUT_SECONDS

log = logging.getLogger(__name__)

#: Seconds between two requests to the registry.
INTERVAL_SECONDS = 60.0


class SubjectLevel:
    """Writes the level of one subject every minute."""

    def __init__(self, mongo: Mongo, *, subject: str, read: Callable[[], Awaitable[str]]) -> None:
        self._call = mongo.call
        self._collection = mongo.database[COLLECTION]
        self._subject = subject
        self._read = read

    async def run(self) -> None:
        """Write the level until cancelled; no error here may stop the worker."""
        while True:
            try:
                await self.write_once()
            except StreamappError as exc:
                # An outage, which the sink logs, or a right that only the dashboard needs.
                log.debug("the compatibility level was not written to pipeline_state: %s", exc)
            except Exception:
                log.exception("the compatibility level was not written to pipeline_state")
            await asyncio.sleep(INTERVAL_SECONDS)

    async def write_once(self) -> None:
        """Write the level that holds now; raises RegistryUnavailable, StoreUnavailable."""
        level = await self._read()
        state = {"kind": "subject", "subject": self._subject, "level": level, "at": datetime.now(UTC)}
        await self._call(lambda: self._write(state))

    def _write(self, state: Mapping[str, object]) -> None:
        with pymongo.timeout(WRITE_TIMEOUT_SECONDS):
            self._collection.update_one({"_id": f"subject:{self._subject}"}, {"$set": state}, upsert=True)
