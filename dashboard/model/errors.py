"""Errors of MongoDB, with messages for the page that contain no secret."""

from __future__ import annotations

from streamapp.errors import StreamappError


class DashboardError(StreamappError):
    """MongoDB gave no answer; the message is for the page and names no user and no password."""

    retry_after_seconds: float = 1.0


class DisconnectedError(DashboardError):
    """MongoDB cannot be reached, or does not answer."""


class RefusedError(DashboardError):
    """MongoDB refused: wrong password, no permission to read, wrong connection string."""


class TooSlowError(DashboardError):
    """MongoDB stopped the query at its time limit."""

    # Such a query costs the server the whole limit each time: do not repeat it at every refresh.
    retry_after_seconds: float = 15.0
