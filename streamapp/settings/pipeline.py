"""Settings of what is read, produced, accepted, counted and kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from streamapp.settings.types import HeaderNames, TopicName, UtcDatetime

#: 2^31 - 1 seconds, the largest `expireAfterSeconds` of a TTL index of MongoDB, in days.
MAX_RETENTION_DAYS = 24_855


class PipelineSettings(BaseSettings):
    """Topic and group, sample events, limits of valid events, dead letters, and retention of rollups."""

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
        description="Whether the sample producer registers its schemas if they are missing, and whether `streamapp"
        " schema register` registers anything; false: the producer only produces if its schemas are registered."
        " Consuming does not depend on it. Set false in production, so that only a release job registers.",
        examples=["true"],
    )
    compatibility: Literal["backward", "keep"] = Field(
        default="backward",
        description="Compatibility level of the subject. backward sets BACKWARD if the subject has no level of its"
        " own; keep changes nothing.",
        examples=["backward"],
    )
    canonical: bool = Field(
        default=True,
        description="Whether events of all schema versions are stored in the shape of the latest registered one: an"
        " optional field that the writer lacks gets the default of the latest schema, and a field that the latest"
        " schema has renamed, with an alias, gets its new name. off: events are stored as written.",
        examples=["on"],
    )
    stored_headers: HeaderNames = Field(
        default="client,client_version",
        pattern=r"^[A-Za-z0-9._-]{1,100}(,[A-Za-z0-9._-]{1,100}){0,15}$",
        description="Headers of records that documents keep in `kafka.headers`: at most 16 names (letters, digits, . _"
        " -) separated by commas; none keeps no headers. The dashboard lists by them who sends which schema version.",
        examples=["client,client_version"],
    )
    compiled_decoder: bool = Field(
        default=True,
        description="Whether the worker converts records with the compiled kernel, where it was built; off: with"
        " generated Python, which is slower and stores the same bytes.",
        examples=["off"],
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
    events_retention_days: int = Field(
        default=0,
        ge=0,
        le=MAX_RETENTION_DAYS,
        description="Days after which MongoDB deletes an event, from the time at which it was received. Rollups keep"
        " their counts. 0 keeps events forever.",
        examples=[90],
    )
    rollups_1m_retention_days: int = Field(
        default=7,
        ge=0,
        le=MAX_RETENTION_DAYS,
        description="Days for which the rollups per minute are kept. 0 keeps them forever.",
        examples=[7],
    )
    rollups_10m_retention_days: int = Field(
        default=30,
        ge=0,
        le=MAX_RETENTION_DAYS,
        description="Days for which the rollups per 10 minutes are kept. 0 keeps them forever.",
        examples=[30],
    )
    rollups_1h_retention_days: int = Field(
        default=400,
        ge=0,
        le=MAX_RETENTION_DAYS,
        description="Days for which the rollups per hour are kept. 0 keeps them forever.",
        examples=[400],
    )
    rollups_1d_retention_days: int = Field(
        default=0,
        ge=0,
        le=MAX_RETENTION_DAYS,
        description="Days for which the rollups per day are kept. 0 keeps them forever.",
        examples=[3650],
    )
