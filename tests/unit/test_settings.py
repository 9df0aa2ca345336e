"""The settings: validated at start, explained when wrong, never telling a secret."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pymongo import MongoClient

from streamapp import settings
from streamapp.errors import SettingsError
from streamapp.settings import Settings

PASSWORD = "hunter2"

WRONG = [
    ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "localhost", "'localhost' does not fit"),
    ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "localhost:99999", "'localhost:99999': a port is a number from 1 to 65535"),
    ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "one:9092,two:0", "a port is a number from 1 to 65535"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "localhost:8081", "'localhost:8081' does not fit"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http://[::1", "'http://[::1': it must name a host, an IPv6 address within []"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http:///apis", "must name a host"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http://localhost:port", "a port is a number"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http://localhost:8081/#top", "nothing behind ? or #"),
    ("STREAMAPP_MONGO_URI", "mongodb://localhost/?tls=true&tlsCertificateKeyFile=/nofile", "directory: '/nofile'"),
    ("STREAMAPP_MONGO_URI", "mongodb+srv://localhost/?tls=true&tlsCAFile=/nofile", "a file of its TLS options"),
    ("STREAMAPP_MONGO_URI", "mongodb+srv://u:p@ss@localhost", "characters in user and password stand as %XX"),
    ("STREAMAPP_MONGO_URI", "mongodb://one,two/?directConnection=true", "its options and certificates fit together"),
    ("STREAMAPP_MONGO_URI", "localhost:27017", "begin with mongodb://"),
    ("STREAMAPP_MONGO_URI", "mongodb://", "name a host"),
    ("STREAMAPP_MONGO_URI", "mongodb://u:x@", "it must name a host"),
    ("STREAMAPP_MONGO_URI", "mongodb://u:p@ss@localhost", "characters in user and password stand as %XX"),
    ("STREAMAPP_MONGO_URI", "mongodb://localhost:port", "its ports are numbers"),
    ("STREAMAPP_MONGO_DATABASE", "a.b", "'a.b' does not fit"),
    ("STREAMAPP_TOPIC", "user events", "'user events' does not fit"),
    ("STREAMAPP_TOPIC", ".", "'.': Kafka forbids this name"),
    ("STREAMAPP_TOPIC", "..", "'..': Kafka forbids this name"),
    ("STREAMAPP_PARTITIONS", "0", "'0': Input should be greater than or equal to 1"),
    ("STREAMAPP_V2_RATIO", "1.5", "'1.5': Input should be less than or equal to 1"),
    ("STREAMAPP_COMPATIBILITY", "full", "'full': Input should be 'backward' or 'keep'"),
    ("STREAMAPP_REGISTER_SCHEMAS", "perhaps", "'perhaps': Input should be a valid boolean"),
    ("STREAMAPP_EARLIEST_EVENT_AT", "yesterday", "'yesterday': Input should be a valid datetime"),
    ("STREAMAPP_EARLIEST_EVENT_AT", "0001-01-01T00:00:00+14:00", "within the years 1 to 9999"),
    ("STREAMAPP_SHUTDOWN_DEADLINE_SECONDS", "inf", "'inf': Input should be a finite number"),
    ("STREAMAPP_SESSION_TIMEOUT_SECONDS", "5", "'5': Input should be greater than or equal to 6"),
    ("STREAMAPP_MAX_POLL_INTERVAL_SECONDS", "0", "'0': Input should be greater than or equal to 5"),
    ("STREAMAPP_BREAKER_SHARE", "50", "'50': Input should be less than or equal to 1"),
    ("STREAMAPP_WEB_PORT", "65536", "'65536': Input should be less than or equal to 65535"),
]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _complaint(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> str:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    return str(caught.value)


@pytest.mark.parametrize(("variable", "value", "expected"), WRONG)
def test_wrong_value_is_explained(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str) -> None:
    """A wrong value names its variable, what is wrong with it, and an example."""
    complaint = _complaint(monkeypatch, variable, value)

    assert complaint.startswith(f"{variable} is wrong: ")
    assert expected in complaint
    assert f"Example: {variable}=" in complaint


def test_every_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two wrong values are told at once, one a line."""
    monkeypatch.setenv("STREAMAPP_PARTITIONS", "none")

    complaint = _complaint(monkeypatch, "STREAMAPP_WEB_PORT", "none")

    assert ["STREAMAPP_PARTITIONS", "STREAMAPP_WEB_PORT"] == [line.split()[0] for line in complaint.splitlines()]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STREAMAPP_MONGO_URI", f"mongo://user:{PASSWORD}@localhost"),
        ("STREAMAPP_MONGO_URI", f"mongodb://user:{PASSWORD}@"),
        ("STREAMAPP_MONGO_URI", f"mongodb://user:{PASSWORD}@{PASSWORD}@localhost"),
        ("STREAMAPP_MONGO_URI", f"mongodb://user:?{PASSWORD}@localhost"),
        ("STREAMAPP_MONGO_URI", f"mongodb://localhost:{PASSWORD}"),
        ("STREAMAPP_SCHEMA_REGISTRY_URL", f"http://user:{PASSWORD}@localhost:8081"),
        ("STREAMAPP_SCHEMA_REGISTRY_URL", f"ftp://user:a/{PASSWORD}@localhost:8081"),
        ("STREAMAPP_SCHEMA_REGISTRY_URL", f"http://localhost:8081/apis?token={PASSWORD}"),
        ("STREAMAPP_SCHEMA_REGISTRY_URL", f"localhost:8081#\n{PASSWORD}"),
    ],
)
def test_complaint_tells_no_password(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A wrong address is refused without repeating the password in it."""
    complaint = _complaint(monkeypatch, variable, value)

    assert variable in complaint
    assert PASSWORD not in complaint


@pytest.mark.parametrize("scheme", ["mongodb", "mongo"])
def test_validation_error_tells_no_password(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The library's own error, which a traceback would show, holds no input either."""
    monkeypatch.setenv("STREAMAPP_MONGO_URI", f"{scheme}://user:{PASSWORD}@localhost")
    monkeypatch.setenv("STREAMAPP_PARTITIONS", "none")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://user:{PASSWORD}%40@one:27017,[::1]:27018/?replicaSet=rs0&authSource=admin",
        "mongodb://localhost/?optionOfTomorrow=1",
        "mongodb+srv://name.that.no.dns.knows.invalid",
    ],
)
def test_connection_strings_that_pymongo_takes_are_taken(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """Nothing is refused that the client would take, and no DNS is asked."""
    monkeypatch.setenv("STREAMAPP_MONGO_URI", uri)

    assert uri == settings.load().mongo_uri.get_secret_value()


_hosts = st.from_regex(r"[a-z0-9.:-]{1,12}", fullmatch=True) | st.sampled_from(["localhost:27017", "a.b:1"])
_options = st.sampled_from(["", "/", "/?replicaSet=rs0", "/?directConnection=true", "?replicaSet=rs0", "/?tls=true"])


@given(st.lists(_hosts, min_size=1, max_size=3), _options)
def test_a_plain_connection_string_is_one_that_pymongo_takes(hosts: list[str], options: str) -> None:
    """Where the driver is not asked, it would find no fault."""
    uri = f"mongodb://{','.join(hosts)}{options}"
    if settings._is_plain(uri):
        MongoClient(uri, connect=False).close()


@pytest.mark.parametrize(
    "uri", [Settings.model_fields["mongo_uri"].default.get_secret_value(), "mongodb://one:1,two:2/?replicaSet=rs0"]
)
def test_common_connection_strings_are_read_without_the_driver(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """Its import takes a twentieth of the start."""
    monkeypatch.setenv("STREAMAPP_MONGO_URI", uri)
    monkeypatch.setitem(sys.modules, "pymongo", None)

    assert uri == settings.load().mongo_uri.get_secret_value()


def test_settings_print_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed or dumped, the settings hide the connection string, and still hold it."""
    uri = f"mongodb://user:{PASSWORD}@localhost:27017"
    monkeypatch.setenv("STREAMAPP_MONGO_URI", uri)

    loaded = settings.load()

    assert PASSWORD not in f"{loaded} {loaded!r} {loaded.model_dump()} {loaded.model_dump_json()}"
    assert uri == loaded.mongo_uri.get_secret_value()


def test_environment_beats_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment wins over `.env`, which wins over the default."""
    Path(".env").write_text("STREAMAPP_TOPIC=from_file\nSTREAMAPP_PARTITIONS=7\n", encoding="utf-8")
    monkeypatch.setenv("STREAMAPP_TOPIC", "from_environment")

    loaded = settings.load()

    assert ("from_environment", 7, "streamapp") == (loaded.topic, loaded.partitions, loaded.app_id)


def test_empty_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set to nothing has its default; a path does not become the working folder."""
    monkeypatch.setenv("STREAMAPP_LOCAL_JAVA", "")
    monkeypatch.setenv("STREAMAPP_PARTITIONS", "")

    loaded = settings.load()

    assert (None, 4) == (loaded.local_java, loaded.partitions)


def test_an_env_file_that_is_no_text_is_named() -> None:
    """In words, as a wrong value is."""
    Path(".env").write_bytes(b"STREAMAPP_TOPIC=\xff\n")

    with pytest.raises(SettingsError, match=r"\.env in this folder cannot be read"):
        settings.load()


def test_settings_are_frozen() -> None:
    """Nothing can be set after the start."""
    loaded = settings.load()

    with pytest.raises(ValidationError):
        loaded.topic = "another"

    assert "user_events" == loaded.topic


@pytest.mark.parametrize("name", Settings.model_fields)
def test_examples_are_valid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each setting is described, and the example in its error message is a value that it takes."""
    field = Settings.model_fields[name]
    assert field.description
    assert field.examples

    monkeypatch.setenv(f"{settings.PREFIX}{name.upper()}", str(field.examples[0]))

    assert getattr(settings.load(), name) is not None


def test_instant_without_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instant without a time zone is read as UTC."""
    monkeypatch.setenv("STREAMAPP_EARLIEST_EVENT_AT", "2020-01-01T00:00:00")

    assert "2020-01-01T00:00:00+00:00" == settings.load().earliest_event_at.isoformat()
