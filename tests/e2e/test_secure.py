"""The whole pipeline on servers that require TLS and credentials: by password, by certificate, and by token."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from pymongo.errors import OperationFailure

from dashboard.data.connection import Connection
from dashboard.data.reader import MongoReader
from streamapp import net
from streamapp.connections import mongodb
from streamapp.local.backend import Backend
from streamapp.local.secure import DASHBOARD, Security, SecurityOptions
from streamapp.settings import PREFIX, Settings
from tests.support import forked
from tests.support.backends import plain_settings, running_backend
from tests.support.forked import ForkedWorker
from tests.support.token_server import TokenServer
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, environment, run

CLIENT_SECRET = "of-the-client/+%~"
WEB_TOKEN = "of-the-pages-of-the-worker"
TOKEN_SECONDS = 10
#: Names to which the servers grant rights.
NAMES = {"topic": "orders", "app_id": "orders-app", "mongo_database": "orders_db"}


@pytest.fixture(scope="module")
def token_server() -> Generator[TokenServer]:
    """Return a token server whose tokens expire soon."""
    with TokenServer(client_id="streamapp", client_secret=CLIENT_SECRET, lifetime_seconds=TOKEN_SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def secured(token_server: TokenServer) -> Generator[Backend]:
    """Return a secured backend that accepts tokens, too."""
    handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
    login = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
    listener = "listener.name.sasl_ssl"
    properties = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
        f"{listener}.oauthbearer.sasl.jaas.config": login,
        f"{listener}.oauthbearer.sasl.server.callback.handler.class": handler,
        f"{listener}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": f"{token_server.url}/jwks",
        f"{listener}.oauthbearer.sasl.oauthbearer.expected.audience": "kafka",
        f"{listener}.oauthbearer.sasl.oauthbearer.expected.issuer": token_server.url,
        # A connection ends when its token expires.
        f"{listener}.oauthbearer.connections.max.reauth.ms": "3600000",
    }
    allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={token_server.url}/jwks"
    options = SecurityOptions(kafka_properties=properties, java_options=[allowed])
    with running_backend(secure=options, **NAMES) as backend:
        yield backend


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def security_of(backend: Backend) -> Security:
    """Return what the backend is secured with."""
    assert backend.security
    return backend.security


def settings_of(backend: Backend, **changes: Any) -> Settings:
    """Return the settings that `streamapp up --secure` prints, with changes; None removes a setting."""
    printed = {name.removeprefix(PREFIX).lower(): value for name, value in backend.addresses.environment().items()}
    # Doctor looks whether the ports are free.
    ports = {"web_port": net.choose_port(), "dashboard_port": net.choose_port()}
    values = {**printed, **NAMES, **ports, "produce_interval_seconds": 0, **changes}
    return plain_settings(**{name: value for name, value in values.items() if value is not None})


def with_certificate(backend: Backend) -> dict[str, Any]:
    """Return the changes of the settings for mutual TLS with Kafka and MongoDB."""
    security = security_of(backend)
    certificate = security.client_certificate
    return {
        "kafka_bootstrap_servers": f"127.0.0.1:{backend.ports.kafkas_tls[0]}",
        "kafka_security_protocol": "ssl",
        "kafka_sasl_mechanism": None,
        "kafka_sasl_username": None,
        "kafka_sasl_password_file": None,
        "kafka_ssl_certificate_file": certificate,
        "mongo_uri": security.mongod.certificate_uri(*backend.ports.mongods, certificate=certificate),
        "mongo_uri_file": None,
        "dashboard_mongo_uri_file": None,
    }


def stored(backend: Backend) -> int:
    """Return the number of stored events."""
    with mongodb.client(security_of(backend).mongod.admin_uri(*backend.ports.mongods)) as client:
        return client[NAMES["mongo_database"]]["events"].count_documents({})


def send(settings: Settings, count: int, *options: str) -> str:
    """Send sample events, and return what the command printed."""
    done = run(STREAMAPP, "send-sample", "--count", str(count), *options, settings=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def command(settings: Settings, *arguments: str, code: int = 0) -> str:
    """Run a command of streamapp, and return what it printed."""
    done = run(STREAMAPP, *arguments, settings=settings)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def quickly(settings: Settings, folder: Path, *arguments: str) -> str:
    """Run a command as `command` does, in a process that starts quickly."""
    log = folder / "command.log"
    code, printed = forked.run("streamapp", *arguments, settings=settings, folder=folder, log=log)
    assert code == 0, printed
    return printed


def secrets_of(backend: Backend) -> list[str]:
    """Return every secret of the backend."""
    folder = security_of(backend).folder
    files = [*folder.glob("*-password"), folder / "mongod.key", *folder.glob("*-uri")]
    keys = [line for file in folder.glob("*.pem") for line in _key_lines(file.read_text())]
    return [file.read_text().strip() for file in files] + keys


def _key_lines(pem: str) -> list[str]:
    return [line for block in re.findall(r"PRIVATE KEY-----\n(.*?)-----END", pem, re.DOTALL) for line in block.split()]


def arguments_of_all_processes() -> str:
    """Return the arguments of all processes on this machine that this user can read."""
    found = ""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += (process / "cmdline").read_bytes().decode("utf-8", "replace")
    return found


def test_by_password(secured: Backend, tmp_path: Path) -> None:
    """Worker, commands and page work with SCRAM and TLS, nothing is lost by kill -9, and no secret is printed."""
    settings = settings_of(secured, web_token=WEB_TOKEN)
    printed = send(settings, 300, "--faults", "bad-magic=0.1", "--seed", "1")
    with Worker(settings, tmp_path) as worker:
        until(lambda: stored(secured) > 0, what="the first events")
        worker.kill()
        printed += worker.text
    printed += send(settings, 200, "--seed", "2")
    debugged = (STREAMAPP, "worker", "--loglevel", "debug")
    with Worker(settings, tmp_path, command=debugged) as worker:
        worker.wait_until_ready()
        arguments = arguments_of_all_processes()

        def is_verified() -> bool:
            nonlocal printed
            done = run(STREAMAPP, "verify", settings=settings)
            printed += done.stdout + done.stderr
            return done.returncode == 0 and re.search(r"all +\d+ .* 0$", done.stdout, re.MULTILINE) is not None

        until(is_verified, within=60, what="all records settled")
        printed += command(settings, "dlq", "list") + command(settings, "dlq", "replay")
        printed += command(settings, "doctor")
        assert 401 == _get(worker.port, "/metrics")[0]
        for path in ("/metrics", "/readyz"):
            status, text = _get(worker.port, path, WEB_TOKEN)
            assert 200 == status
            printed += text
        assert 0 == worker.stop()
        printed += worker.text

    for secret in [*secrets_of(secured), WEB_TOKEN]:
        assert secret not in printed
        assert secret not in arguments


def _get(port: int, path: str, token: str = "") -> tuple[int, str]:
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as exc:
        return exc.code, ""
    except OSError:  # it does not listen yet
        return 0, ""


def test_the_page_reads_with_a_user_that_cannot_write(secured: Backend, tmp_path: Path) -> None:
    """The dashboard has a connection string of its own, reads over TLS, and shows no secret."""
    settings = settings_of(secured)
    log, port = tmp_path / "dashboard.log", settings.dashboard_port
    with log.open("wb") as output:
        page = subprocess.Popen([STREAMAPP, "dashboard"], env=environment(settings), stdout=output, stderr=output)
    try:
        until(lambda: _get(port, "/readyz")[0] == 200, within=60, what="a page that reads")
        printed = "".join(_get(port, path)[1] for path in ("/readyz", "/")) + arguments_of_all_processes()
    finally:
        page.terminate()
        page.wait(80)
    printed += log.read_text()
    assert not [secret for secret in secrets_of(secured) if secret in printed]

    with mongodb.client(mongodb.dashboard_uri(settings)) as client:
        database = client[settings.mongo_database]
        (user,) = database.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        database["events"].count_documents({})
        with pytest.raises(OperationFailure, match="not authorized"):
            database["events"].insert_one({"_id": "forged"})

    assert DASHBOARD == user["user"]


def test_by_certificate(secured: Backend, tmp_path: Path) -> None:
    """With mutual TLS, Kafka and MongoDB take the name in the certificate for the user; no password is needed."""
    security = security_of(secured)
    page = security.mongod.certificate_uri(*secured.ports.mongods, certificate=security.dashboard_certificate)
    settings = settings_of(secured, **with_certificate(secured), dashboard_mongo_uri=page)
    before = stored(secured)
    quickly(settings, tmp_path, "send-sample", "--count", "100")
    with ForkedWorker(settings, tmp_path) as worker:
        until(lambda: stored(secured) >= before + 100, what="the events")
        assert 0 == worker.stop()

    check_commands_and_page(settings, tmp_path)


def check_commands_and_page(settings: Settings, folder: Path) -> str:
    """Run the commands and read what the page shows; return what the commands print."""
    printed = "".join(quickly(settings, folder, *line.split()) for line in ("verify", "dlq list", "dlq replay"))
    doctor = quickly(settings, folder, "doctor")
    assert "faults: 0" in doctor
    reads = Connection(uri=mongodb.dashboard_uri(settings), database=settings.mongo_database)
    overview = MongoReader(reads, subject=settings.subject).overview()
    assert overview is not None
    assert overview.stored
    reads.close()
    return printed + doctor


def test_by_token(secured: Backend, token_server: TokenServer, tmp_path: Path) -> None:
    """With OAUTHBEARER all clients get tokens from the token endpoint, and new ones before they expire."""
    settings = settings_of(
        secured,
        kafka_sasl_mechanism="OAUTHBEARER",
        kafka_sasl_username=None,
        kafka_sasl_password_file=None,
        kafka_oauth_token_url=f"{token_server.url}/token",
        kafka_oauth_client_id="streamapp",
        kafka_oauth_client_secret=CLIENT_SECRET,
        kafka_oauth_scope="kafka",
        produce_interval_seconds=0.2,
    )
    before = stored(secured)
    printed = quickly(settings, tmp_path, "send-sample", "--count", "100")
    with ForkedWorker(settings, tmp_path) as worker:
        until(lambda: stored(secured) >= before + 100, what="the events")
        first = len(token_server.requests)
        until(lambda: len(token_server.requests) >= first + 2, within=90, what="new tokens")
        now = stored(secured)
        until(lambda: stored(secured) >= now + 10, what="events with a new token")
        until(lambda: worker.is_ready, what="a ready worker")
        assert 0 == worker.stop()
        printed += worker.text
    printed += check_commands_and_page(settings.model_copy(update={"produce_interval_seconds": 0.0}), tmp_path)

    assert ["kafka"] == token_server.requests[-1]["scope"]
    token_file = tmp_path / "token"
    token_file.write_text(token_server.token("streamapp", 600))
    from_file = settings.model_copy(
        update={"kafka_oauth_token_url": None, "kafka_oauth_token_file": token_file, "produce_interval_seconds": 0.0}
    )
    doctor = quickly(from_file, tmp_path, "doctor")
    assert "faults: 0" in doctor
    printed += doctor
    assert not [secret for secret in [*secrets_of(secured), CLIENT_SECRET, token_file.read_text()] if secret in printed]
