"""The settings: validated at start, with an error message that explains and contains no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamapp import settings
from streamapp.errors import SettingsError
from streamapp.settings import Settings, sources

PASSWORD = "hunter2"

WRONG = [
    ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "localhost", "'localhost' does not match"),
    (
        "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS",
        "localhost:99999",
        "'localhost:99999': a port must be a number from 1 to 65535",
    ),
    ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "one:9092,two:0", "a port must be a number from 1 to 65535"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "localhost:8081", "'localhost:8081' does not match"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http://[::1", "'http://[::1': it must name a host (an IPv6 address in [])"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http:///apis", "must name a host"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http://localhost:port", "a port must be a number"),
    ("STREAMAPP_SCHEMA_REGISTRY_URL", "http://localhost:8081/#top", "User, password, ? and # are not allowed"),
    ("STREAMAPP_MONGO_URI", "mongodb://localhost/?tls=true&tlsCertificateKeyFile=/nofile", "directory: '/nofile'"),
    ("STREAMAPP_MONGO_URI", "mongodb+srv://localhost/?tls=true&tlsCAFile=/nofile", "a file in its TLS options"),
    ("STREAMAPP_MONGO_URI", "mongodb+srv://u:p@ss@localhost", "characters in user and password are written as %XX"),
    (
        "STREAMAPP_MONGO_URI",
        "mongodb://one,two/?directConnection=true",
        "Its options and certificates must fit together",
    ),
    ("STREAMAPP_MONGO_URI", "localhost:27017", "begin with mongodb://"),
    ("STREAMAPP_MONGO_URI", "mongodb://", "name a host"),
    ("STREAMAPP_MONGO_URI", "mongodb://u:x@", "It must name a host"),
    ("STREAMAPP_MONGO_URI", "mongodb://u:p@ss@localhost", "characters in user and password are written as %XX"),
    ("STREAMAPP_MONGO_URI", "mongodb://localhost:port", "Ports are numbers"),
    ("STREAMAPP_MONGO_DATABASE", "a.b", "'a.b' does not match"),
    ("STREAMAPP_TOPIC", "user events", "'user events' does not match"),
    ("STREAMAPP_TOPIC", ".", "'.': Kafka does not allow this name"),
    ("STREAMAPP_TOPIC", "..", "'..': Kafka does not allow this name"),
    ("STREAMAPP_PARTITIONS", "0", "'0': Input should be greater than or equal to 1"),
    ("STREAMAPP_V2_RATIO", "1.5", "'1.5': Input should be less than or equal to 1"),
    ("STREAMAPP_COMPATIBILITY", "full", "'full': Input should be 'backward' or 'keep'"),
    ("STREAMAPP_REGISTER_SCHEMAS", "perhaps", "'perhaps': Input should be a valid boolean"),
    ("STREAMAPP_MIN_EVENT_TIME", "yesterday", "'yesterday': Input should be a valid datetime"),
    ("STREAMAPP_MIN_EVENT_TIME", "0001-01-01T00:00:00+14:00", "within the years 1 to 9999"),
    ("STREAMAPP_SHUTDOWN_DEADLINE_SECONDS", "inf", "'inf': Input should be a finite number"),
    ("STREAMAPP_SESSION_TIMEOUT_SECONDS", "5", "'5': Input should be greater than or equal to 6"),
    ("STREAMAPP_MAX_POLL_INTERVAL_SECONDS", "0", "'0': Input should be greater than or equal to 5"),
    ("STREAMAPP_BREAKER_FAILURE_RATIO", "50", "'50': Input should be less than or equal to 1"),
    ("STREAMAPP_DASHBOARD_DEAD_LETTERS_WARNING_RATIO", "5", "'5': Input should be less than or equal to 1"),
    *(
        (f"STREAMAPP_{name}_RETENTION_DAYS", "24856", "'24856': Input should be less than or equal to 24855")
        for name in ("EVENTS", "ROLLUPS_1M", "ROLLUPS_10M", "ROLLUPS_1H", "ROLLUPS_1D")
    ),
    ("STREAMAPP_WEB_PORT", "65536", "'65536': Input should be less than or equal to 65535"),
]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    sources.warn_once.cache_clear()


def _error(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> str:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    return str(caught.value)


@pytest.mark.parametrize(("variable", "value", "expected"), WRONG)
def test_error_explains_an_invalid_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    """The message names the variable, says what is wrong, and gives an example."""
    message = _error(monkeypatch, variable, value)

    assert message.startswith(f"{variable} is invalid: ")
    assert expected in message
    assert f"Example: {variable}=" in message


def test_error_names_every_invalid_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two invalid values make two lines."""
    monkeypatch.setenv("STREAMAPP_PARTITIONS", "none")

    message = _error(monkeypatch, "STREAMAPP_WEB_PORT", "none")

    assert ["STREAMAPP_PARTITIONS", "STREAMAPP_WEB_PORT"] == [line.split()[0] for line in message.splitlines()]


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
        ("STREAMAPP_SCHEMA_REGISTRY_URL", f"http://one,http://user:{PASSWORD}@two"),
        ("STREAMAPP_SCHEMA_REGISTRY_URL", f"user:{PASSWORD}@localhost:8081"),
        ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", f"user:{PASSWORD}@localhost:9092"),
        ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", f"a:1,user:{PASSWORD}@b:9092,user:{PASSWORD}@c:9092"),
        (
            "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS",
            f"Endpoint=sb://ns.example.com/;SharedAccessKeyName=n;SharedAccessKey={PASSWORD}=",
        ),
        (
            "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS",
            f"Endpoint=sb://ns.example.com/;sharedaccesskey={PASSWORD}a;b{PASSWORD};EntityPath=t",
        ),
        ("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", f"a:1 username=u password='{PASSWORD}' token=\"{PASSWORD}\""),
        ("STREAMAPP_TOPIC", f"client_secret = {PASSWORD}"),
    ],
)
def test_error_contains_no_password(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The message about an invalid address does not repeat its password."""
    message = _error(monkeypatch, variable, value)

    assert variable in message
    assert PASSWORD not in message


@pytest.mark.parametrize("names", ["a,a", "client, version", "$set", "streamapp.reason", "a,,b", "x" * 101])
def test_names_of_headers_are_checked(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    """None is given twice, none is a header of streamapp, and all are names that a document can have."""
    assert "STREAMAPP_STORED_HEADERS is invalid" in _error(monkeypatch, "STREAMAPP_STORED_HEADERS", names)


@pytest.mark.parametrize("scheme", ["mongodb", "mongo"])
def test_validation_error_contains_no_password(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The error of pydantic, which a traceback shows, contains no input."""
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
def test_valid_connection_strings_are_accepted(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """Every string that pymongo accepts is accepted, without a DNS request."""
    monkeypatch.setenv("STREAMAPP_MONGO_URI", uri)

    assert uri == settings.load().mongo_uri.get_secret_value()


def test_default_connection_string_is_read_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import of pymongo takes 0.2 s."""
    monkeypatch.setitem(sys.modules, "pymongo", None)

    assert "mongodb://localhost:27017/?directConnection=true" == settings.load().mongo_uri.get_secret_value()


def test_settings_do_not_print_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printed or dumped settings hide the connection string."""
    uri = f"mongodb://user:{PASSWORD}@localhost:27017"
    monkeypatch.setenv("STREAMAPP_MONGO_URI", uri)

    loaded = settings.load()

    assert PASSWORD not in f"{loaded} {loaded!r} {loaded.model_dump()} {loaded.model_dump_json()}"
    assert uri == loaded.mongo_uri.get_secret_value()


def test_environment_takes_precedence_over_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment overrides `.env`, which overrides the default."""
    Path(".env").write_text("STREAMAPP_TOPIC=from_file\nSTREAMAPP_PARTITIONS=7\n", encoding="utf-8")
    monkeypatch.setenv("STREAMAPP_TOPIC", "from_environment")

    loaded = settings.load()

    assert ("from_environment", 7, "streamapp") == (loaded.topic, loaded.partitions, loaded.app_id)


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting has its default; a path is not the working directory."""
    monkeypatch.setenv("STREAMAPP_LOCAL_JAVA", "")
    monkeypatch.setenv("STREAMAPP_PARTITIONS", "")

    loaded = settings.load()

    assert (None, 4) == (loaded.local_java, loaded.partitions)


def test_an_empty_variable_hides_that_of_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins, so the setting has its default; Compose sets variables that are empty."""
    Path(".env").write_text("STREAMAPP_TOPIC=from_file\nSTREAMAPP_PARTITIONS=7\n", encoding="utf-8")
    monkeypatch.setenv("STREAMAPP_TOPIC", "")
    monkeypatch.setenv("Streamapp_Partitions", "")

    loaded = settings.load()

    assert ("user_events", 4) == (loaded.topic, loaded.partitions)


def test_an_empty_variable_does_not_hide_its_deprecated_name_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both are of the same source, and only one of them has a value."""
    monkeypatch.setenv(RATIO, "")
    monkeypatch.setenv(SHARE, "0.25")

    assert 0.25 == settings.load().breaker_failure_ratio


def test_an_empty_variable_hides_its_deprecated_name_in_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"{SHARE}=0.25\n", encoding="utf-8")
    monkeypatch.setenv(RATIO, "")

    assert Settings.model_fields["breaker_failure_ratio"].default == settings.load().breaker_failure_ratio


def test_error_names_an_env_file_that_is_not_text() -> None:
    """The error is a SettingsError, as for an invalid value."""
    Path(".env").write_bytes(b"STREAMAPP_TOPIC=\xff\n")

    with pytest.raises(SettingsError, match=r"\.env in the working directory cannot be read"):
        settings.load()


def test_settings_are_frozen() -> None:
    """A setting cannot be assigned."""
    loaded = settings.load()

    with pytest.raises(ValidationError):
        loaded.topic = "another"

    assert "user_events" == loaded.topic


_SCRAM = {"kafka_security_protocol": "sasl_ssl", "kafka_sasl_mechanism": "SCRAM-SHA-512"}
_OAUTH = _SCRAM | {"kafka_sasl_mechanism": "OAUTHBEARER"}
_REGISTRY_LOGIN = {"schema_registry_username": "u", "schema_registry_password": PASSWORD}
#: What must be set beside a setting.
COMPANIONS: dict[str, dict[str, str]] = {
    "kafka_security_protocol": _SCRAM | {"kafka_sasl_username": "u", "kafka_sasl_password": PASSWORD},
    "kafka_sasl_mechanism": _SCRAM | {"kafka_sasl_username": "u", "kafka_sasl_password": PASSWORD},
    "kafka_sasl_username": _SCRAM | {"kafka_sasl_password": PASSWORD},
    "kafka_sasl_password": _SCRAM | {"kafka_sasl_username": "u"},
    "kafka_sasl_password_file": _SCRAM | {"kafka_sasl_username": "u"},
    "kafka_oauth_token_url": _OAUTH | {"kafka_oauth_client_id": "u", "kafka_oauth_client_secret": PASSWORD},
    "kafka_oauth_token_file": _OAUTH,
    "kafka_ssl_ca_file": {"kafka_security_protocol": "ssl"},
    "kafka_ssl_certificate_file": {"kafka_security_protocol": "ssl"},
    "kafka_ssl_key_file": {"kafka_security_protocol": "ssl", "kafka_ssl_certificate_file": "client.pem"},
    "schema_registry_username": _REGISTRY_LOGIN,
    "schema_registry_password": _REGISTRY_LOGIN,
    "schema_registry_password_file": {"schema_registry_username": "u"},
    "schema_registry_ssl_key_file": {"schema_registry_ssl_certificate_file": "client.pem"},
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_examples_are_valid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each setting has a description, and the example in its error message is a valid value."""
    field = Settings.model_fields[name]
    assert field.description
    assert field.examples

    for companion, value in COMPANIONS.get(name, {}).items():
        monkeypatch.setenv(f"{settings.PREFIX}{companion.upper()}", value)
    monkeypatch.setenv(f"{settings.PREFIX}{name.upper()}", str(field.examples[0]))
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: b"mongodb://of-the-file")

    assert getattr(settings.load(), name) is not None


def test_the_signing_key_comes_from_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A newline at the end of the file is not part of the key. To set both is an error; so is an empty file."""
    file = tmp_path / "key"
    file.write_text("secret\n")
    monkeypatch.setenv("STREAMAPP_DLQ_SIGNING_KEY_FILE", str(file))
    from_file = settings.load()
    monkeypatch.setenv("STREAMAPP_DLQ_SIGNING_KEY", "secret")
    with pytest.raises(SettingsError, match="STREAMAPP_DLQ_SIGNING_KEY_FILE are both set"):
        settings.load()
    monkeypatch.delenv("STREAMAPP_DLQ_SIGNING_KEY_FILE")
    from_variable = settings.load()

    assert b"secret" == from_file.signing_key == from_variable.signing_key
    assert "secret" not in repr(from_variable)
    file.write_text("\n")
    monkeypatch.delenv("STREAMAPP_DLQ_SIGNING_KEY")
    monkeypatch.setenv("STREAMAPP_DLQ_SIGNING_KEY_FILE", str(file))
    with pytest.raises(SettingsError, match="is empty"):
        settings.load()


def test_instant_without_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instant without a time zone is read as UTC."""
    monkeypatch.setenv("STREAMAPP_MIN_EVENT_TIME", "2020-01-01T00:00:00")

    assert "2020-01-01T00:00:00+00:00" == settings.load().min_event_time.isoformat()


#: A value of each renamed setting, by its old name.
OLD = {
    "breaker_share": "0.25",
    "breaker_least_records": "7",
    "event_ahead_seconds": "9.5",
    "earliest_event_at": "2020-01-01T00:00:00Z",
    "rollups_1m_keep_days": "1",
    "rollups_10m_keep_days": "2",
    "rollups_1h_keep_days": "3",
    "rollups_1d_keep_days": "4",
}
SHARE, RATIO = "STREAMAPP_BREAKER_SHARE", "STREAMAPP_BREAKER_FAILURE_RATIO"


@pytest.mark.parametrize("old", settings.RENAMED)
@pytest.mark.parametrize("source", ["environment", ".env"])
def test_old_name_is_read_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, old: str, source: str
) -> None:
    """The warning names the old and the new name, and is logged once per process."""
    new = settings.RENAMED[old]
    if source == ".env":
        Path(".env").write_text(f"{settings.variable(old)}={OLD[old]}\n", encoding="utf-8")
    else:
        monkeypatch.setenv(settings.variable(old), OLD[old])

    loaded = [settings.load(), settings.load()]

    monkeypatch.delenv(settings.variable(old), raising=False)
    monkeypatch.setenv(settings.variable(new), OLD[old])
    Path(".env").unlink(missing_ok=True)
    expected = getattr(settings.load(), new)
    assert [expected, expected] == [getattr(each, new) for each in loaded]
    (warning,) = caplog.messages
    assert settings.variable(old) in warning
    assert settings.variable(new) in warning


def test_warning_about_an_old_name_is_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a logging configuration, Python prints it there as one line."""
    monkeypatch.setenv(SHARE, "0.25")
    code = "from streamapp import settings; settings.load(); settings.load()"

    stderr = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr

    assert [f"{SHARE} is deprecated and will be removed in version 0.3; use {RATIO}."] == (stderr.splitlines())


@pytest.mark.parametrize("source", ["environment", ".env"])
def test_old_and_new_name_together_are_an_error(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """The message names both."""
    if source == ".env":
        Path(".env").write_text(f"{SHARE}=0.25\n{RATIO}=0.25\n", encoding="utf-8")
    else:
        monkeypatch.setenv(SHARE, "0.25")
        monkeypatch.setenv(RATIO, "0.25")

    with pytest.raises(SettingsError, match=f"{SHARE} and {RATIO} are both set") as caught:
        settings.load()

    assert f"Remove {SHARE}, which is deprecated." in str(caught.value)


@pytest.mark.parametrize(("name", "other"), [(SHARE, RATIO), (RATIO, SHARE), (SHARE, SHARE)])
def test_a_name_in_the_environment_wins_over_both_names_in_dotenv(
    monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    """The old name as well as the new one."""
    Path(".env").write_text(f"{other}=0.25\n", encoding="utf-8")
    monkeypatch.setenv(name, "0.75")

    assert 0.75 == settings.load().breaker_failure_ratio


def test_error_about_a_value_under_an_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the new name; the warning before it names both."""
    assert f"{RATIO} is invalid: '50'" in _error(monkeypatch, SHARE, "50")


@pytest.mark.parametrize("name", ["LOCAL_JAVA", "LOCAL_MONGOD", "LOCAL_KAFKA_HOME", "LOCAL_CACHE_DIR"])
@pytest.mark.parametrize("spelled", [str.upper, str.lower])
def test_an_env_file_names_no_program(name: str, spelled: Callable[[str], str]) -> None:
    """A `.env` may come with a folder of somebody else; the error names the variable, and what to do."""
    Path(".env").write_text(f"{spelled('STREAMAPP_' + name)}=/tmp/theirs\n", encoding="utf-8")

    with pytest.raises(SettingsError, match=f"STREAMAPP_{name}, .*export STREAMAPP_{name}=") as raised:
        settings.load()
    assert "/tmp/theirs" not in str(raised.value)


def test_the_environment_names_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing in `.env` is not set."""
    monkeypatch.setenv("STREAMAPP_LOCAL_JAVA", "/usr/bin/java")
    Path(".env").write_text("STREAMAPP_LOCAL_MONGOD=\nSTREAMAPP_LOCAL_KAFKA_HOME\n", encoding="utf-8")

    assert Path("/usr/bin/java") == settings.load().local_java


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAMAPP_DASHBOARD_WAITING_WARNING_SECONDS", "301"),
        ("STREAMAPP_DASHBOARD_LATENCY_CRITICAL_SECONDS", "1"),
        ("STREAMAPP_DASHBOARD_DEAD_LETTERS_WARNING_RATIO", "0.5"),
    ],
)
def test_a_warning_comes_before_what_is_critical(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Both settings are named."""
    monkeypatch.setenv(name, value)
    warning, critical = (name.replace(*each) for each in (("CRITICAL", "WARNING"), ("WARNING", "CRITICAL")))

    with pytest.raises(SettingsError, match=f"{warning} is larger than {critical}"):
        settings.load()
