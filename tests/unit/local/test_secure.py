"""Parts of a secured backend that need no server: files, data folders, environments, the proxy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import ClientSession, web

from streamapp import settings
from streamapp.commands import demo
from streamapp.errors import BackendError
from streamapp.local import secure, secure_files
from streamapp.local.backend import Addresses, Backend
from streamapp.local.ports import Ports
from streamapp.local.secure import Security
from streamapp.local.secure_proxy import Proxy
from streamapp.net import HOST
from streamapp.settings import Settings, variable

USER, PASSWORD = "alice", "with:colons"


def test_files_are_readable_by_this_user_only(tmp_path: Path) -> None:
    """Whatever the umask is, and also if the file was readable by others before."""
    file = tmp_path / "secure" / "password"
    before = os.umask(0)
    try:
        secure_files.write(file, "first")
        file.chmod(0o644)
        secure_files.write(file, "second")
    finally:
        os.umask(before)

    assert "second" == file.read_text()
    assert (0o600, 0o700) == (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode))


def test_git_ignores_the_secrets_of_every_data_folder() -> None:
    """A data folder can be inside the checkout."""
    ignored = (Path(__file__).parents[3] / ".gitignore").read_text("utf-8").splitlines()

    assert f"{secure.FOLDER}/" in ignored


def test_a_secret_stays_the_same(tmp_path: Path) -> None:
    """A second start of a data folder uses the passwords of the first one."""
    first, other = secure_files.secret(tmp_path / "one"), secure_files.secret(tmp_path / "other")

    assert first == secure_files.secret(tmp_path / "one")
    assert first != other
    assert len(first) >= 32


@pytest.mark.parametrize(("was_secure", "remedy"), [(True, "add --secure"), (False, "omit --secure")])
def test_a_data_folder_keeps_its_kind(tmp_path: Path, was_secure: bool, remedy: str) -> None:
    """The error says what to do."""
    (tmp_path / "kafka").mkdir()
    if was_secure:
        (tmp_path / secure.FOLDER).mkdir()

    secure.check_kind(tmp_path, is_secure=was_secure)
    with pytest.raises(BackendError, match=remedy):
        secure.check_kind(tmp_path, is_secure=not was_secure)


ADDRESSES = Addresses(kafka_bootstrap_servers="k:1", schema_registry_url="http://r", mongo_uri="mongodb://m")
OURS = {
    "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS": "k:1",
    "STREAMAPP_SCHEMA_REGISTRY_URL": "http://r",
    "STREAMAPP_MONGO_URI": "mongodb://m",
}


def test_a_command_gets_no_connection_to_other_servers() -> None:
    """The variables of the backend win over those of the shell; the other ones of connections are empty."""
    shell = {
        "PATH": "/bin",
        "STREAMAPP_TOPIC": "mine",
        "STREAMAPP_MONGO_URI": "mongodb://theirs",
        "STREAMAPP_SCHEMA_REGISTRY_USERNAME": "theirs",
        "streamapp_kafka_sasl_password": "theirs",
    }

    environ = ADDRESSES.command_environment(shell)

    assert {"PATH": "/bin", "STREAMAPP_TOPIC": "mine", **OURS} == {
        name: value for name, value in environ.items() if value
    }
    assert "" == environ["streamapp_kafka_sasl_password"]


@pytest.mark.parametrize("is_secure", [True, False])
def test_a_command_ignores_all_connections_in_dotenv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_secure: bool
) -> None:
    """Also a login of another kind, another certificate authority, and what other brokers do not allow."""
    theirs = {variable(name): "/theirs" for name in settings.CONNECTION_SETTINGS}
    for name, value in _in_dotenv(monkeypatch, tmp_path, is_secure, theirs).command_environment({}).items():
        monkeypatch.setenv(name, value)

    loaded = settings.load()

    values = {name: getattr(loaded, name) for name in settings.CONNECTION_SETTINGS}
    assert [] == [name for name, value in values.items() if "theirs" in f"{value}"]
    assert loaded.create_topics


@pytest.mark.parametrize("is_secure", [True, False])
def test_what_a_person_exports_hides_the_connections_in_dotenv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_secure: bool
) -> None:
    """Of the variables in `.env`, those of connections that are not ours are printed as empty."""
    theirs = {"KAFKA_SSL_CA_FILE": "/theirs", "SCHEMA_REGISTRY_BEARER_TOKEN": "theirs", "CREATE_TOPICS": "false"}
    addresses = _in_dotenv(
        monkeypatch,
        tmp_path,
        is_secure,
        {variable(name): value for name, value in (theirs | {"TOPIC": "mine", "KAFKA_OAUTH_SCOPE": ""}).items()},
    )

    printed = addresses.printed(settings.names_in_dotenv())

    assert {variable(name): "" for name in theirs} == {name: value for name, value in printed.items() if not value}
    for name, value in printed.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    assert (None, None, True) == tuple(getattr(loaded, name.lower()) for name in theirs)
    assert "mine" == loaded.topic


def _in_dotenv(monkeypatch: pytest.MonkeyPatch, folder: Path, is_secure: bool, lines: Mapping[str, str]) -> Addresses:
    """Write a `.env`; return the addresses of a backend."""
    monkeypatch.chdir(folder)
    variables: Mapping[str, str] = {}
    if is_secure:
        variables = Security(folder, Settings()).environment(Ports.choose(usual=False, is_secure=True))
        for name in ("mongo-uri", "dashboard-mongo-uri"):  # written once MongoDB runs
            (folder / secure.FOLDER / name).write_text("mongodb://m")
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    return replace(ADDRESSES, variables=variables)


def test_what_is_added_to_the_environment_of_the_demo_hides_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker and dashboard inherit the variables of the shell, of which an empty one counts as unset."""
    shell = {
        "STREAMAPP_MONGO_URI_FILE": "/theirs",
        "STREAMAPP_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "STREAMAPP_KAFKA_SASL_MECHANISM": "PLAIN",
        "streamapp_schema_registry_username": "theirs",
        "STREAMAPP_TOPIC": "mine",
    }
    backend, folder = cast("Backend", SimpleNamespace(addresses=ADDRESSES)), Path("unused")
    for name, value in shell.items():
        monkeypatch.setenv(name, value)

    for server in (demo._worker(backend, folder, 1), demo._dashboard(backend, folder, 2)):
        for name, value in server._environ.items():
            monkeypatch.setenv(name, value)
        loaded = settings.load()
        assert ("plaintext", None) == (loaded.kafka_security_protocol, loaded.kafka_sasl_mechanism)
        assert (None, "http://r") == (loaded.schema_registry_username, loaded.schema_registry_url)
        assert ("mongodb://m", None) == (loaded.mongo_uri.get_secret_value(), loaded.mongo_uri_file)
        assert "mine" == loaded.topic


async def _registry(request: web.Request) -> web.Response:
    """Answer with what arrived."""
    seen = {"path": request.raw_path, "body": await request.text(), "authorization": "Authorization" in request.headers}
    return web.Response(text=json.dumps(seen), status=422, content_type="application/vnd.schemaregistry.v1+json")


@asynccontextmanager
async def _serving(handler: object) -> AsyncGenerator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)  # pyright: ignore[reportArgumentType]
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _login(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_the_proxy_forwards_the_requests_of_its_user() -> None:
    """Path, body, status and type of the answer are the same; the credentials stay at the proxy."""

    async def ask() -> tuple[int, str, dict[str, object]]:
        async with _serving(_registry) as behind:
            proxy = Proxy(behind, user=USER, password=PASSWORD)
            async with _serving(proxy.answer) as port, ClientSession() as session:
                url = f"http://{HOST}:{port}/subjects/a%2Fb/versions?deleted=true"
                headers = {"Authorization": _login(USER, PASSWORD)}
                async with session.post(url, data="{}", headers=headers) as answer:
                    found = answer.status, answer.content_type, await answer.json(content_type=None)
            await proxy.close()
            return found

    status, content_type, seen = asyncio.run(ask())

    assert (422, "application/vnd.schemaregistry.v1+json") == (status, content_type)
    assert {"path": "/subjects/a%2Fb/versions?deleted=true", "body": "{}", "authorization": False} == seen


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("", 401),
        ("Basic", 401),
        ("Basic !", 401),
        (_login(USER, "wrong"), 401),
        (_login("", ""), 401),
        (_login(USER, PASSWORD).replace("Basic", "Bearer"), 401),
        (_login(USER, PASSWORD), 502),
    ],
)
def test_the_proxy_refuses_others(authorization: str, expected: int) -> None:
    """401 without the right credentials; 502 while the registry does not answer."""

    async def ask() -> int:
        proxy = Proxy(1, user=USER, password=PASSWORD)
        async with _serving(proxy.answer) as port, ClientSession() as session:
            headers = {"Authorization": authorization} if authorization else {}
            async with session.get(f"http://{HOST}:{port}/subjects", headers=headers) as answer:
                status = answer.status
        await proxy.close()
        return status

    assert expected == asyncio.run(ask())
