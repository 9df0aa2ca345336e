"""A real Chromium for the tests of the page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import chromium as programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page


# Not for the session: while it is open, Playwright's event loop runs in this thread, and nobody else's can.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return a Chromium; without one the test is skipped, and in CI it fails."""
    path = programs.program()
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(programs.HOW_TO_GET_IT)
    with programs.launched(path) as browser:
        yield browser


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """Return an empty tab of a visitor in Berlin, whose digits and hours are written differently."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="de-DE", timezone_id="Europe/Berlin")
    yield context.new_page()
    context.close()
