"""Why MongoDB gave no answer, in words for the page that hold no secret."""

from __future__ import annotations

from typing import ClassVar

from streamapp.errors import StreamappError


class DashboardError(StreamappError):
    """MongoDB gave no answer; the message is for the page and names no user and no password."""

    retry_after_seconds: ClassVar[float] = 1.0


class DisconnectedError(DashboardError):
    """MongoDB cannot be reached, or does not answer."""


class RefusedError(DashboardError):
    """MongoDB answered that it will not do this: wrong password, no right to read, wrong connection string."""


class TooSlowError(DashboardError):
    """MongoDB cut the query off at its limit."""

    # Such a query costs the server the whole limit each time: not again with every refresh.
    retry_after_seconds: ClassVar[float] = 15.0
