"""Settings of the connections to MongoDB."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from streamapp.settings.types import MongoUri


class MongoSettings(BaseSettings):
    """Connection strings of the worker and of the dashboard, and the database."""

    mongo_uri: MongoUri = Field(
        default=SecretStr("mongodb://localhost:27017/?directConnection=true"),
        validate_default=False,  # see `_check_with_driver`
        description="Connection string of MongoDB. It may contain a password; it is never printed.",
        examples=["mongodb://localhost:27017/?replicaSet=rs0"],
    )
    mongo_uri_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_MONGO_URI; a newline at its end is ignored. Set one of the two.",
        examples=["/run/secrets/mongo-uri"],
    )
    dashboard_mongo_uri: MongoUri | None = Field(
        default=None,
        description="Connection string of the dashboard, for a user of its own that can only read. If unset:"
        " STREAMAPP_MONGO_URI. It is never printed.",
        examples=["mongodb://localhost:27017/?replicaSet=rs0"],
    )
    dashboard_mongo_uri_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_DASHBOARD_MONGO_URI; a newline at its end is ignored. Set one of the"
        " two.",
        examples=["/run/secrets/dashboard-mongo-uri"],
    )
    mongo_database: str = Field(
        default="streaming_db",
        pattern=r"^[^/\\. \"$*<>:|?]{1,63}$",
        description='Name of the MongoDB database. Spaces and the characters / \\ . " $ * < > : | ? are not allowed.',
        examples=["streaming_db"],
    )
