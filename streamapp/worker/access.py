"""Access to the pages: if a token is set, /metrics needs it, and the health pages say less without it.

Probes of orchestrators send no token, so /healthz and /readyz answer anyway: with the state, without its reasons, which
name servers and topics.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from hmac import compare_digest
from typing import Any

#: Pages that need no token.
OPEN_PAGES = frozenset({"/healthz", "/readyz"})
_ANONYMOUS = "streamapp.anonymous"
_BEARER = "bearer "


def is_refused(request: MutableMapping[Any, Any], *, path: str, authorization: str, token: str | None) -> bool:
    """Whether a request may not read its page; note in the request if it comes without the token."""
    if token is None or _has_token(authorization, token):
        return False
    request[_ANONYMOUS] = True
    return path.rstrip("/") not in OPEN_PAGES


def is_anonymous(request: MutableMapping[Any, Any]) -> bool:
    """Whether a token is required, and the request came without it."""
    return bool(request.get(_ANONYMOUS))


def _has_token(authorization: str, token: str) -> bool:
    is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
    given = authorization[len(_BEARER) :].strip() if is_bearer else ""
    return compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
