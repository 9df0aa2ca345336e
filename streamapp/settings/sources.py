"""Sources of settings besides the environment and `.env`: deprecated names, and files that hold secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from streamapp.errors import SettingsError
from streamapp.settings.names import ENVIRONMENT_ONLY, RENAMED, variable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

log = logging.getLogger(__name__)

#: Secrets that are bytes, not text: their files are read where they are used.
_BINARY = frozenset({"dlq_signing_key"})
#: A token of Kafka comes from an endpoint or from a file, which is read for each connection.
_TOKEN = ("kafka_oauth_token_url", "kafka_oauth_token_file")


class _Source(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        """Return nothing; the values come from `__call__`."""
        return None, field_name, False


class DeprecatedNames(_Source):
    """Reads the settings that are set under deprecated names, and logs a warning that names the new names."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = [source.env_vars for source in sources if isinstance(source, EnvSettingsSource)]

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
        warn_once(old_variable, new_variable)
        return value

    def _first(self, name: str) -> str | None:
        found = (variables.get(variable(name).lower()) for variables in self._variables)
        return next((value for value in found if value is not None), None)


@cache
def warn_once(old: str, new: str) -> None:
    """Log the warning about a deprecated name, once in a process."""
    log.warning("%s is deprecated and will be removed in version 0.3; use %s.", old, new)


class Alternatives(_Source):
    """The values of all sources, the first source first; decides between a secret and its file, and other alternatives.

    As with all settings the environment wins over `.env`, whichever of the two it has. Within one of them, a secret
    and its file are an error.
    """

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._sources = sources

    def __call__(self) -> dict[str, Any]:
        """Return the values that are set; raises SettingsError if a secret is set twice, or a file cannot be read."""
        # Each source once, because it looks for every setting.
        found = [source() for source in self._sources]
        names = secrets(self.settings_cls.model_fields)
        decided = [_secret(name, found) for name in names] + [_decided(_TOKEN, found)]
        return {key: value for each in (*reversed(found), *decided) for key, value in each.items()}


def secrets(names: Iterable[str]) -> list[str]:
    """Return the names of those settings that can be given as a file."""
    names = list(names)
    return [name for name in names if f"{name}_file" in names]


def _secret(name: str, sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the secret and its file as `_decided` does, with the text of the file as the secret."""
    file = f"{name}_file"
    decided = _decided((name, file), sources)
    path = decided.get(file)
    if path is not None and decided.get(name) is not None:
        raise SettingsError(f"{variable(name)} and {variable(file)} are both set. Remove one of them.")
    return decided if path is None or name in _BINARY else {**decided, name: text_in(Path(path), variable(file))}


def _decided(names: tuple[str, str], sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return two settings as the first source that has one of them says; empty if none has.

    What only a later source has of the two is None in the result.
    """
    given = {name for source in sources for name in names if source.get(name) is not None}
    for source in sources:
        values = {name: source[name] for name in names if source.get(name) is not None}
        if values:
            return {name: values.get(name) for name in names if name in given}
    return {}


def without_hidden(values: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables of `.env` without those that an empty variable of the environment sets to the default.

    Args:
        values: by their names in lower case.
        environ: the environment.
    """
    empty = {name.lower() for name, value in environ.items() if not value}
    empty |= {variable(old).lower() for old, new in RENAMED.items() if variable(new).lower() in empty}
    return {name: value for name, value in values.items() if name not in empty}


def text_in(file: Path, name: str) -> str:
    """Return the text of a file as `secret_in` does; raises SettingsError with this variable's name."""
    try:
        return secret_in(file, name).decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{name} is invalid: {file} is not a text in UTF-8.") from None


def secret_in(file: Path, name: str) -> bytes:
    """Return the content of a file without the newline at its end; raises SettingsError with this variable's name."""
    try:
        secret = file.read_bytes().removesuffix(b"\n").removesuffix(b"\r")
    except OSError as exc:
        raise SettingsError(f"{name} is invalid: {file} cannot be read: {exc.strerror}.") from None
    if not secret:
        raise SettingsError(f"{name} is invalid: {file} is empty.")
    return secret


def check_env_file(values: Mapping[str, str | None]) -> None:
    """Raise SettingsError if `.env` sets a setting that only the environment may set."""
    given = {name.upper() for name, value in values.items() if value}
    for name in map(variable, ENVIRONMENT_ONLY):
        if name in given:
            message = (
                f"The file .env in this folder sets {name}, which names programs to run. It is read from the"
                f" environment only. Remove the line from .env, and set it in your shell: export {name}=<path>"
            )
            raise SettingsError(message)
