"""Access to the pages: if a token is set, /metrics needs it, and the health pages say less without it.

Probes of orchestrators send no token, so /healthz and /readyz answer anyway: with the state, without its reasons, which
name servers and topics.
"""

from __future__ import annotations

from hmac import compare_digest

#: Pages that need no token.
OPEN_PAGES = frozenset({"/healthz", "/readyz"})
_BEARER = "bearer "


def is_authorized(authorization: str, token: str | None) -> bool:
    """Whether a request with this Authorization header has the token, or none is required."""
    if token is None:
        return True
    is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
    given = authorization[len(_BEARER) :].strip() if is_bearer else ""
    return compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def is_refused(path: str, authorization: str, token: str | None) -> bool:
    """Whether a request may not read a page."""
    return path.rstrip("/") not in OPEN_PAGES and not is_authorized(authorization, token)
