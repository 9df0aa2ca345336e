"""Compare the rollups with the events, as a part of a verification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from streamapp.mongodb.client import Mongo
from streamapp.reconcile.reconciliation import Reconciliation
from streamapp.reconcile.result import ReconciliationResult
from streamapp.settings import Settings
from streamapp.verify.checks.result import Problem


def check_rollups(
    settings: Settings, mongo: Mongo, on_read: Callable[[int], None]
) -> tuple[ReconciliationResult, Sequence[Problem]]:
    """Return the comparison, and a problem for each rollup that differs.

    Raises:
        StoreUnavailable, PyMongoError: MongoDB does not answer.
    """
    result = Reconciliation(
        mongo,
        keep=settings.keep,
        now=lambda: datetime.now(UTC),
        max_lead_ms=int(settings.max_event_lead_seconds * 1000),
        on_read=on_read,
    ).check()
    different = sorted((result.different | result.unrepairable).items())
    return result, [Problem("rollup", None, "", f"{level.collection} {id_}: {why}") for (level, id_), why in different]
