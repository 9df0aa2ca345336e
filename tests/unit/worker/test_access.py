"""Access to the pages with a token."""

from __future__ import annotations

import pytest

from streamapp.worker import access

TOKEN = "a token"


@pytest.mark.parametrize(
    ("path", "authorization", "token", "expected"),
    [
        ("/metrics", "", None, (False, False)),
        ("/metrics", "", TOKEN, (True, True)),
        ("/metrics/", "Bearer another", TOKEN, (True, True)),
        ("/metrics", TOKEN, TOKEN, (True, True)),
        ("/metrics", f"Bearer {TOKEN}", TOKEN, (False, False)),
        ("/metrics", f"bearer  {TOKEN}", TOKEN, (False, False)),
        ("/healthz", "", TOKEN, (False, True)),
        ("/readyz/", "Bearer another", TOKEN, (False, True)),
        ("/readyz", f"Bearer {TOKEN}", TOKEN, (False, False)),
        ("/readyz/../metrics", "", TOKEN, (True, True)),
    ],
)
def test_pages_and_tokens(path: str, authorization: str, token: str | None, expected: tuple[bool, bool]) -> None:
    """Metrics need the token; the health pages answer without it, and know that it is missing."""
    refused = access.is_refused(path, authorization, token)

    assert expected == (refused, not access.is_authorized(authorization, token))
