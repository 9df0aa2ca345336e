"""`streamapp dashboard`: which command line serves the page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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


def test_names_of_the_setting_are_the_only_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides those of loopback; the setting comes before Streamlit's variable."""
    monkeypatch.setenv("STREAMLIT_SERVER_ALLOWED_HOSTS", "*")

    command = dashboard.arguments("0.0.0.0", 8501, allowed_hosts="page.example.com,page")

    names = [value for flag, value in pairwise(command) if flag == "--server.allowedHosts"]
    assert ["page.example.com", "page", "localhost", "127.0.0.1", "::1"] == names


@pytest.mark.parametrize("path", ["/team/streamapp/", "team/streamapp"])
def test_base_path_is_in_the_printed_address(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """The path may be written with or without its slashes."""
    started = _start(monkeypatch, STREAMAPP_DASHBOARD_BASE_PATH=path)

    assert ["--server.baseUrlPath", "team/streamapp"] == started.command[-2:]
    assert "http://127.0.0.1:8501/team/streamapp." in started.output


def test_variables_of_streamlit_are_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and port come from Streamlit's variables if no setting gives them."""
    started = _start(monkeypatch, STREAMLIT_SERVER_ADDRESS="127.0.0.2", STREAMLIT_SERVER_PORT="18511")

    assert ["--server.address", "127.0.0.2", "--server.port", "18511"] == started.command[2:]


def test_settings_come_before_the_variables_of_streamlit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the setting has the value of its default."""
    started = _start(
        monkeypatch,
        STREAMLIT_SERVER_ADDRESS="127.0.0.2",
        STREAMLIT_SERVER_PORT="18511",
        STREAMAPP_DASHBOARD_HOST="127.0.0.1",
        STREAMAPP_DASHBOARD_PORT="18512",
    )

    assert ["--server.address", "127.0.0.1", "--server.port", "18512"] == started.command[2:]


@pytest.mark.parametrize("port", ["http", "0", "70000", "²"])
def test_wrong_variable_of_streamlit_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """Exit 2, naming the variable."""
    monkeypatch.setenv("STREAMLIT_SERVER_PORT", port)

    done = CliRunner().invoke(dashboard.command, [])

    assert 2 == done.exit_code
    assert "STREAMLIT_SERVER_PORT" in done.output


def test_installation_without_streamlit_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the image of the worker."""
    monkeypatch.setattr(dashboard, "find_spec", lambda _: None)

    done = CliRunner().invoke(dashboard.command, [])

    assert 2 == done.exit_code
    assert "pip install streamlit" in done.output


@dataclass(frozen=True)
class _Started:
    command: list[str]
    output: str


def _start(monkeypatch: pytest.MonkeyPatch, **variables: str) -> _Started:
    """Run `streamapp dashboard` up to the point where it would replace the process."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    commands: list[list[str]] = []
    monkeypatch.setattr(dashboard.os, "execv", lambda _, command: commands.append(command))
    monkeypatch.setattr(dashboard.signal, "pthread_sigmask", lambda *_: None)
    monkeypatch.setattr(dashboard, "_check_is_free", lambda *_: None)
    done = CliRunner().invoke(dashboard.command, [])
    assert 0 == done.exit_code, done.output
    return _Started(commands[0], done.output)
