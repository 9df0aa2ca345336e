"""All settings together, and what follows from them."""

from __future__ import annotations

import os
from datetime import timedelta

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from streamapp.errors import SettingsError
from streamapp.rollups.levels import LEVELS, Keep
from streamapp.settings import consistency
from streamapp.settings.kafka import KafkaSettings
from streamapp.settings.local import LocalSettings
from streamapp.settings.messages import message
from streamapp.settings.mongodb import MongoSettings
from streamapp.settings.names import PREFIX, variable
from streamapp.settings.pipeline import PipelineSettings
from streamapp.settings.processes import ProcessSettings
from streamapp.settings.registry import RegistrySettings
from streamapp.settings.sources import Alternatives, DeprecatedNames, check_env_file, secret_in, without_hidden


# pydantic takes the fields of the last base first.
class Settings(LocalSettings, ProcessSettings, PipelineSettings, MongoSettings, RegistrySettings, KafkaSettings):
    """All settings; docs/generate.py makes the settings table and `.env.example` from the descriptions."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        # An empty variable means the default; an empty path would be the working directory.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
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
        """Decide between alternatives, add the source of deprecated names, and check `.env`."""
        if isinstance(dotenv_settings, DotEnvSettingsSource):
            check_env_file(dotenv_settings.env_vars)
            dotenv_settings.env_vars = without_hidden(dotenv_settings.env_vars, os.environ)
        deprecated = DeprecatedNames(settings_cls, env_settings, dotenv_settings)
        values = Alternatives(settings_cls, init_settings, deprecated, env_settings, dotenv_settings)
        return values, file_secret_settings

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
        """The key that signs dead letters; raises SettingsError if its file cannot be read."""
        key, file = self.dlq_signing_key, self.dlq_signing_key_file
        if key is not None:
            return key.get_secret_value().encode()
        return None if file is None else secret_in(file, variable("dlq_signing_key_file"))

    @property
    def dead_letter_topic(self) -> str:
        """Name of the dead-letter topic."""
        return f"{self.topic}.dlq"


#: Names of the settings that say how to reach the servers.
CONNECTION_SETTINGS = frozenset(
    {*KafkaSettings.model_fields, *RegistrySettings.model_fields, *MongoSettings.model_fields} - {"mongo_database"}
)


def names_in_dotenv() -> list[str]:
    """Return the names of the variables that `.env` sets, in lower case."""
    return [name for name, value in DotEnvSettingsSource(Settings).env_vars.items() if value]


def load() -> Settings:
    """Read the settings from the environment and `.env`.

    Raises:
        SettingsError: a value is invalid, a setting has its old and its new name, settings contradict each other, or
            `.env` cannot be read. The message names the variable, says what is wrong, and gives an example.
    """
    try:
        settings = Settings()
        _ = settings.signing_key  # an error in it is reported at the start
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"The file .env in the working directory cannot be read: {exc}") from None
    except ValidationError as exc:
        errors = [message(error, Settings.model_fields) for error in exc.errors()]
        raise SettingsError("\n".join(errors)) from None
    problems = [
        *consistency.kafka_problems(settings),
        *consistency.registry_problems(settings),
        *consistency.dashboard_problems(settings),
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings
