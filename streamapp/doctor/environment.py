"""Ask this machine: the settings' sources, and who listens on our ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from dotenv import dotenv_values

from streamapp import net
from streamapp.doctor.checks.finding import Findings
from streamapp.doctor.checks.local import PortFacts, judge_port, judge_settings
from streamapp.doctor.kafka import reach
from streamapp.settings import PREFIX, RENAMED, Settings, variable

ANSWER_SECONDS = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be reached by, not to listen on


def settings_findings(settings: Settings, environ: Mapping[str, str], folder: Path) -> Findings:
    """What the settings say, and which variables nobody reads."""
    file = folder / ".env"
    names = {*environ, *(dotenv_values(file) if file.is_file() else {})}
    summary = f"topic {settings.topic}, group {settings.app_id}, database {settings.mongo_database}"
    yield from judge_settings(
        {name.upper() for name in names if name.upper().startswith(PREFIX)},
        [variable(name) for name in Settings.model_fields],
        renamed={variable(old): variable(new) for old, new in RENAMED.items()},
        env_file=str(file) if file.is_file() else None,
        summary=summary,
    )


def port_findings(settings: Settings, hide: Callable[[str], str]) -> Findings:
    """Who answers where worker and page would; `hide` keeps secrets out of what they say."""
    worker = _port(settings.web_host, settings.web_port, hide)
    yield judge_port("ports.worker", worker, who="worker", settings="STREAMAPP_WEB")
    page = _port(settings.dashboard_host, settings.dashboard_port, hide)
    yield judge_port("ports.dashboard", page, who="dashboard", settings="STREAMAPP_DASHBOARD")


def _port(host: str, port: int, hide: Callable[[str], str]) -> PortFacts:
    name = _EVERYWHERE.get(host, host)
    address = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    if reach(address):
        is_here = net.is_here(host)
        return PortFacts(address=address if is_here else repr(host), is_here=is_here, is_open=False)
    try:
        # Never by way of a proxy.
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
            told = client.get(f"http://{address}/readyz").json()
        ready = bool(told["ready"])
    except (httpx.HTTPError, ValueError, TypeError, KeyError):
        return PortFacts(address=address, is_open=True)
    trouble = "; ".join(f"{name}: {state}" for name, state in told.items() if name != "ready" and state != "ok")
    return PortFacts(address=address, is_open=True, ready=ready, trouble=hide(trouble))
