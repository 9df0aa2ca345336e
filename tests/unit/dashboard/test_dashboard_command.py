"""`streamapp dashboard`: which command line serves the page."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from streamapp.commands import dashboard


def test_page_of_this_checkout_or_installation_is_served() -> None:
    """Whatever else is called dashboard where the command is given."""
    assert dashboard.script().is_file()
    assert str(dashboard.script()) in dashboard.arguments("127.0.0.1", 8501)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_names_are_checked_on_loopback(host: str) -> None:
    """A web site elsewhere cannot read the page through a name of its own."""
    assert "--server.allowedHosts" not in dashboard.arguments(host, 8501)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_any_name_will_do_for_a_page_that_is_served_to_others(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which names they reach it cannot be known, unless somebody says so."""
    assert ["--server.allowedHosts", "*"] == dashboard.arguments(host, 8501)[-2:]

    monkeypatch.setenv("STREAMLIT_SERVER_ALLOWED_HOSTS", "page.example.com")

    assert "--server.allowedHosts" not in dashboard.arguments(host, 8501)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8501"), ("0.0.0.0", "http://localhost:8501"), ("::1", "http://[::1]:8501")],
)
def test_printed_address_can_be_opened(host: str, url: str) -> None:
    """All interfaces is not an address to open."""
    assert url == dashboard.page_url(host, 8501)


@pytest.mark.parametrize(("arguments", "flag"), [(["--host", "192.0.2.1"], "--host"), (["--port", "70000"], "--port")])
def test_wrong_address_is_wrong_usage(arguments: list[str], flag: str) -> None:
    """Exit 2, naming the flag."""
    done = CliRunner().invoke(dashboard.command, arguments)

    assert 2 == done.exit_code
    assert flag in done.output


def test_wrong_setting_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, naming the variable."""
    monkeypatch.setenv("STREAMAPP_DASHBOARD_PORT", "http")

    done = CliRunner().invoke(dashboard.command, [])

    assert 2 == done.exit_code
    assert "STREAMAPP_DASHBOARD_PORT" in done.output
