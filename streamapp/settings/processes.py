"""Settings of the processes: limits of a worker, its pages, the dashboard, logs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from streamapp.settings.types import Port


class ProcessSettings(BaseSettings):
    """Limits of a worker, its pages, the dashboard, logs."""

    max_in_flight_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of records that a worker holds in memory before it pauses fetching.",
        examples=[67_108_864],
    )
    shutdown_deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum seconds from SIGTERM or Ctrl-C until the worker ends, even if a server does not answer.",
        examples=[10],
    )
    session_timeout_seconds: float = Field(
        default=15.0,
        # Minimum: Kafka's group.min.session.timeout.ms. Maximum: Faust's request timeout.
        ge=6,
        le=90,
        description="Seconds without a heartbeat after which Kafka removes a worker from the consumer group and"
        " reassigns its partitions.",
        examples=[15],
    )
    max_poll_interval_seconds: float = Field(
        default=1000.0,
        ge=5,
        le=86_400,
        description="Maximum seconds between two polls, after which a worker leaves the consumer group. A worker keeps"
        " polling during an outage.",
        examples=[1000],
    )
    web_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address on which the worker serves /healthz, /readyz and /metrics.",
        examples=["127.0.0.1"],
    )
    web_port: Port = Field(
        default=6066, description="Port on which the worker serves /healthz, /readyz and /metrics.", examples=[6066]
    )
    web_allowed_hosts: str | None = Field(
        default=None,
        pattern=r"^(\*|[A-Za-z0-9._:-]+(,[A-Za-z0-9._:-]+)*)?$",
        description="Host names for which the worker answers on STREAMAPP_WEB_PORT, separated by commas, besides"
        " STREAMAPP_WEB_HOST, the names of loopback and the address on which a connection arrives. Requests with"
        " another host name get 421. * allows all.",
        examples=["worker,worker.example.com"],
    )
    web_token: SecretStr | None = Field(
        default=None,
        description="Token that /metrics requires, as Authorization: Bearer <token>. Without it /healthz and /readyz"
        " answer with the state only. If unset: no page requires a token. It is never printed.",
        examples=["a long random text"],
    )
    web_token_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_WEB_TOKEN; a newline at its end is ignored. Set one of the two.",
        examples=["/run/secrets/web-token"],
    )
    dashboard_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address on which `streamapp dashboard` serves the dashboard.",
        examples=["127.0.0.1"],
    )
    dashboard_port: Port = Field(
        default=8501, description="Port on which `streamapp dashboard` serves the dashboard.", examples=[8501]
    )
    dashboard_waiting_warning_seconds: float = Field(
        default=30.0,
        ge=0,
        allow_inf_nan=False,
        description="The dashboard shows amber if the oldest waiting message has waited for at least so many seconds.",
        examples=[30],
    )
    dashboard_waiting_critical_seconds: float = Field(
        default=300.0,
        ge=0,
        allow_inf_nan=False,
        description="The dashboard shows red if the oldest waiting message has waited for at least so many seconds.",
        examples=[300],
    )
    dashboard_latency_warning_seconds: float = Field(
        default=5.0,
        ge=0,
        allow_inf_nan=False,
        description="The dashboard shows amber if the latency from Kafka to MongoDB (p95 of the last five minutes) is"
        " at least so many seconds.",
        examples=[5],
    )
    dashboard_latency_critical_seconds: float = Field(
        default=60.0,
        ge=0,
        allow_inf_nan=False,
        description="The dashboard shows red if the latency from Kafka to MongoDB (p95 of the last five minutes) is"
        " at least so many seconds.",
        examples=[60],
    )
    dashboard_dead_letters_warning_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The dashboard shows amber if at least this fraction of the records of the last 15 minutes are"
        " dead letters. 0: any dead letter.",
        examples=[0],
    )
    dashboard_dead_letters_critical_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="The dashboard shows red if at least this fraction of the records of the last 15 minutes are"
        " dead letters.",
        examples=[0.01],
    )
    dashboard_allowed_hosts: str | None = Field(
        default=None,
        pattern=r"^(\*|[A-Za-z0-9.*_:-]+(,[A-Za-z0-9.*_:-]+)*)?$",
        description="Host names under which browsers may open the dashboard, separated by commas, besides the names of"
        " loopback; *.example.com allows all names that end in .example.com. If unset: the names of loopback only if"
        " STREAMAPP_DASHBOARD_HOST is an address of loopback, else all names.",
        examples=["dashboard.example.com"],
    )
    dashboard_base_path: str | None = Field(
        default=None,
        pattern=r"^/?[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?$",
        description="Path below which the dashboard is served, for a proxy that gives it a part of a site.",
        examples=["/streamapp"],
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="Format of the worker's log: text, or json with one object per line.",
        examples=["json"],
    )
