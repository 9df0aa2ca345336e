"""Read the facts of this machine: sources of the settings, listeners on the ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from dotenv import dotenv_values

from streamapp import net
from streamapp.decode.kernel import KERNEL
from streamapp.doctor.checks.finding import Finding, Findings
from streamapp.doctor.checks.local import PortFacts, check_decoder, check_port, check_settings
from streamapp.doctor.kafka import reach
from streamapp.settings import PREFIX, RENAMED, Settings, variable

ANSWER_SECONDS = 2.0
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only connected to, not listened on


def settings_findings(settings: Settings, environ: Mapping[str, str], folder: Path) -> Findings:
    """Check settings and the names of variables."""
    file = folder / ".env"
    names = {*environ, *(dotenv_values(file) if file.is_file() else {})}
    summary = f"topic {settings.topic}, group {settings.app_id}, database {settings.mongo_database}"
    yield from check_settings(
        {name.upper() for name in names if name.upper().startswith(PREFIX)},
        [variable(name) for name in Settings.model_fields],
        renamed={variable(old): variable(new) for old, new in RENAMED.items()},
        env_file=str(file) if file.is_file() else None,
        summary=summary,
    )
    yield decoder_finding(settings)


def decoder_finding(settings: Settings) -> Finding:
    """Say what converts the records."""
    return check_decoder(is_wanted=settings.compiled_decoder, is_built=KERNEL is not None)


def port_findings(settings: Settings, redact: Callable[[str], str]) -> Findings:
    """Check the ports of worker and dashboard; `redact` removes secrets from their answers."""
    token = settings.web_token.get_secret_value() if settings.web_token else ""
    worker = _port(settings.web_host, settings.web_port, redact, token)
    yield check_port("ports.worker", worker, program="worker", settings="STREAMAPP_WEB")
    dashboard = _port(settings.dashboard_host, settings.dashboard_port, redact)
    yield check_port("ports.dashboard", dashboard, program="dashboard", settings="STREAMAPP_DASHBOARD")


def _port(host: str, port: int, redact: Callable[[str], str], token: str = "") -> PortFacts:
    name = _WILDCARDS.get(host, host)
    address = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    if reach(address):
        is_here = net.is_here(host)
        return PortFacts(address=address if is_here else repr(host), is_here=is_here, is_open=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        # Without a proxy: the address is that of this machine.
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
            answer = client.get(f"http://{address}/readyz", headers=headers).json()
        ready = bool(answer["ready"])
    except (httpx.HTTPError, ValueError, TypeError, KeyError):
        return PortFacts(address=address, is_open=True)
    not_ready = "; ".join(f"{name}: {state}" for name, state in answer.items() if name != "ready" and state != "ok")
    return PortFacts(address=address, is_open=True, ready=ready, not_ready=redact(not_ready))
