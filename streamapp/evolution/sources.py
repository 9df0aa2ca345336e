"""Read schemas from files, from a revision of Git, and from the registry."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamapp.compatibility.json_form import UnusableSchemaError, from_text
from streamapp.compatibility.schema import ParsedSchema
from streamapp.compatibility.validity import parse
from streamapp.decode.avro_schema import UnreadableSchema
from streamapp.errors import StreamappError
from streamapp.registry.client import RegistryClient
from streamapp.registry.schema_body import RegisteredSchema

_GIT_TIMEOUT_SECONDS = 30


class UnusableInput(StreamappError):  # noqa: N818 - named by what it is
    """A schema cannot be read; the message says which one, why, and for a schema where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSchema:
    """A schema, and where it comes from."""

    #: A path, `path at REV`, or `v2 of SUBJECT`.
    label: str
    parsed: ParsedSchema
    #: In JSON form.
    json: Any


def from_file(path: str) -> NamedSchema:
    """Read a schema file.

    Raises:
        UnusableInput: the file cannot be read, or has no legal schema.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise UnusableInput(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL in the path
        raise UnusableInput(f"{path!r} is not the path of a file: {exc}") from exc
    return _named(path, content)


def from_git(path: str, revision: str) -> NamedSchema:
    """Read a schema file as it was at a revision of the Git repository that it is in.

    Raises:
        UnusableInput: there is no such revision or file, or the file has no legal schema.
    """
    if revision.startswith("-"):
        raise UnusableInput(f"{revision!r} is not a revision of Git")
    file = Path(path).absolute()
    shown = _git(file, "show", f"{revision}:./{file.name}")
    if shown.returncode:
        _git_fails(path, revision, file)
    return _named(f"{path} at {revision}", shown.stdout)


def _git_fails(path: str, revision: str, file: Path) -> None:
    verified = _git(file, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if verified.returncode == 0:
        raise UnusableInput(f"{path} does not exist at {revision}: there is nothing to compare with")
    if _git(file, "rev-parse", "--git-dir").returncode:
        raise UnusableInput(f"{path} is not in a Git repository")
    raise UnusableInput(
        f"{revision!r} is not a revision of the Git repository of {path}; `git fetch` gets those of a remote repository"
    )


def _git(file: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    environ = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
    try:
        return subprocess.run(
            ["git", "-C", str(file.parent), *args],  # noqa: S607 - the one of the user
            capture_output=True,
            timeout=_GIT_TIMEOUT_SECONDS,
            check=False,
            env=environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError as exc:
        raise UnusableInput("--against-git needs the program git, which is not installed") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UnusableInput(f"git fails: {exc}") from exc


def _named(label: str, content: bytes) -> NamedSchema:
    try:
        schema = from_text(content.decode("utf-8-sig"))
        return NamedSchema(label=label, parsed=parse(schema), json=schema)
    except UnicodeDecodeError as exc:
        raise UnusableInput(f"{label} is not text in UTF-8: {exc.reason} at byte {exc.start}") from exc
    except UnusableSchemaError as exc:
        raise UnusableInput(f"{label} is not a usable schema: {exc}") from exc


async def from_registry(registry: RegistryClient) -> Sequence[NamedSchema]:
    """Read all versions of the registry's subject, the latest first.

    Raises:
        UnusableInput: the subject has no versions, or one is not a schema.
        RegistryUnavailable: the registry does not answer.
    """
    numbers = sorted(await registry.versions(), reverse=True)
    if not numbers:
        raise UnusableInput(
            f"the subject {registry.subject} has no versions at {registry.url}: there is nothing to compare with"
        )
    return [await from_version(registry, number) for number in numbers]


async def from_version(registry: RegistryClient, number: int) -> NamedSchema:
    """Read one version of the registry's subject.

    Raises:
        UnusableInput: the subject has no such version, or it is not a schema.
        RegistryUnavailable: the registry does not answer.
    """
    label = f"v{number} of {registry.subject}"
    found = await registry.read_version(number)
    if found is None:
        raise UnusableInput(f"{registry.url} has no {label}")
    return _registered(label, found)


async def from_id(registry: RegistryClient, schema_id: int) -> NamedSchema:
    """Read the schema of an id.

    Raises:
        UnusableInput: the registry has no such id, or it is not a schema.
        RegistryUnavailable: the registry does not answer.
    """
    label = f"id {schema_id}"
    found = await registry.read_id(schema_id)
    if found is None:
        raise UnusableInput(f"{registry.url} has no schema with the id {schema_id}")
    return _registered(label, found)


def _registered(label: str, found: RegisteredSchema) -> NamedSchema:
    if isinstance(found.schema, UnreadableSchema):
        raise UnusableInput(f"{label} is not a usable schema: {found.schema.problem}")
    try:
        parsed = parse(found.schema, definitions=found.definitions, is_registered=True)
    except UnusableSchemaError as exc:
        raise UnusableInput(f"{label} is not a usable schema: {exc}") from exc
    return NamedSchema(label=label, parsed=parsed, json=found.schema)
