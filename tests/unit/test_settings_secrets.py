"""Secrets as files, and settings that contradict each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamapp import settings
from streamapp.errors import SettingsError
from streamapp.settings import Settings, sources

SECRET = "s3cret: with a colon"
SECRETS = sources.secrets(Settings.model_fields)
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "scram-sha-512", "KAFKA_SASL_USERNAME": "u"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _set(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"{settings.PREFIX}{name}", value)


def _problem(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    _set(monkeypatch, **values)
    with pytest.raises(SettingsError) as raised:
        settings.load()
    return str(raised.value)


def test_every_secret_has_a_file() -> None:
    """A setting that pydantic hides can also be given as a file."""
    hidden = {name for name, field in Settings.model_fields.items() if "SecretStr" in f"{field.annotation}"}

    assert hidden == set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str) -> None:
    """A newline at the end of the file is not part of the secret."""
    secret = "mongodb://host" if name.endswith("mongo_uri") else SECRET
    (tmp_path / "secret").write_bytes(f"{secret}{end}".encode())
    _set(monkeypatch, **{f"{name.upper()}_FILE": str(tmp_path / "secret")})

    loaded = Settings()

    value = loaded.signing_key if name == "dlq_signing_key" else getattr(loaded, name).get_secret_value().encode()
    assert secret.encode() == value
    assert SECRET not in f"{loaded!r}"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_and_its_file_together_are_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The message names both, and not the secret."""
    variable = f"{settings.PREFIX}{name.upper()}"
    message = _problem(monkeypatch, **{name.upper(): SECRET, f"{name.upper()}_FILE": "/nowhere"})

    assert f"{variable} and {variable}_FILE are both set" in message
    assert SECRET not in message


def test_the_environment_wins_over_a_secret_file_in_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for all settings: `streamapp up` sets the environment of its command."""
    Path(".env").write_text("STREAMAPP_MONGO_URI_FILE=/nowhere\n", encoding="utf-8")
    _set(monkeypatch, MONGO_URI="mongodb://of-the-environment")

    assert "mongodb://of-the-environment" == settings.load().mongo_uri.get_secret_value()


@pytest.mark.parametrize("name", SECRETS)
def test_the_environment_decides_between_a_secret_and_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """What `.env` has of the two does not count, and is not read."""
    variable, ours = f"{settings.PREFIX}{name.upper()}", "mongodb://ours"
    (tmp_path / "ours").write_text(ours)

    def found() -> tuple[bytes, object]:
        loaded = Settings()
        is_key = name == "dlq_signing_key"
        value = loaded.signing_key if is_key else getattr(loaded, name).get_secret_value().encode()
        return value, getattr(loaded, f"{name}_file")

    monkeypatch.setenv(variable, ours)
    Path(".env").write_text(f"{variable}_FILE=/nowhere\n", encoding="utf-8")
    assert (ours.encode(), None) == found()

    monkeypatch.delenv(variable)
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "ours"))
    Path(".env").write_text(f"{variable}=mongodb://theirs\n", encoding="utf-8")
    assert (ours.encode(), tmp_path / "ours") == found()


@pytest.mark.parametrize("name", SECRETS)
def test_an_empty_variable_hides_the_secret_of_dotenv(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """And the file of the secret, if its variable is empty; neither is read."""
    variable = f"{settings.PREFIX}{name.upper()}"
    default = getattr(Settings(), name)

    for hidden in (variable, f"{variable}_FILE"):
        Path(".env").write_text(f"{hidden}=/nowhere\n", encoding="utf-8")
        with monkeypatch.context() as environment:
            environment.setenv(hidden, "")
            loaded = Settings()
        assert (default, None) == (getattr(loaded, name), getattr(loaded, f"{name}_file"))


OAUTH = {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OAUTH_CLIENT_ID": "c"}


LOGINS = [
    *(
        ("SCHEMA_REGISTRY_", basic, token)
        for basic in ({"USERNAME": "u", "PASSWORD": SECRET}, {"USERNAME": "u", "PASSWORD_FILE": "file"})
        for token in ({"BEARER_TOKEN": SECRET}, {"BEARER_TOKEN_FILE": "file"})
    ),
    ("KAFKA_OAUTH_TOKEN_", {"URL": "https://tokens"}, {"FILE": "file"}),
]


@pytest.mark.parametrize(
    ("prefix", "ours", "theirs"), [*LOGINS, *((prefix, other, one) for prefix, one, other in LOGINS)]
)
def test_the_environment_decides_between_two_logins(
    monkeypatch: pytest.MonkeyPatch, prefix: str, ours: dict[str, str], theirs: dict[str, str]
) -> None:
    """What `.env` has of the other one does not count, and its files are not read. In one place both are an error."""
    Path("file").write_text(SECRET, encoding="utf-8")
    lines = {name: "/nowhere" if name.endswith("FILE") else value for name, value in theirs.items()}
    Path(".env").write_text("".join(f"STREAMAPP_{prefix}{k}={v}\n" for k, v in lines.items()), encoding="utf-8")
    if prefix.startswith("KAFKA"):
        _set(monkeypatch, **OAUTH, KAFKA_OAUTH_CLIENT_SECRET=SECRET)
    _set(monkeypatch, **{prefix + name: value for name, value in ours.items()})

    loaded = settings.load()

    assert {} == {name: value for name in theirs if (value := getattr(loaded, (prefix + name).lower())) is not None}
    assert all(getattr(loaded, (prefix + name).lower()) for name in ours)
    Path(".env").unlink()
    assert "are both set" in _problem(monkeypatch, **{prefix + name: value for name, value in theirs.items()})


@pytest.mark.parametrize("server", ["KAFKA", "SCHEMA_REGISTRY"])
def test_a_client_certificate_of_the_environment_has_no_key_of_dotenv(
    monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """The key can be in the file of the certificate."""
    if server == "KAFKA":
        _set(monkeypatch, KAFKA_SECURITY_PROTOCOL="ssl")
    lines = {"CERTIFICATE": "/dot.pem", "KEY": "/dot.key"}
    text = "".join(f"STREAMAPP_{server}_SSL_{name}_FILE={file}\n" for name, file in lines.items())
    Path(".env").write_text(text, encoding="utf-8")
    both = settings.load()
    _set(monkeypatch, **{f"{server}_SSL_CERTIFICATE_FILE": "/env.pem"})
    loaded = settings.load()

    def files(of: Settings) -> list[str | None]:
        found = [getattr(of, f"{server}_SSL_{name}_FILE".lower()) for name in lines]
        return [file and str(file) for file in found]

    assert [["/dot.pem", "/dot.key"], ["/env.pem", None]] == [files(both), files(loaded)]


def test_a_login_may_be_in_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user in `.env`, the password in the environment; and the environment decides against the token of `.env`."""
    Path(".env").write_text(
        "STREAMAPP_SCHEMA_REGISTRY_USERNAME=u\nSTREAMAPP_SCHEMA_REGISTRY_BEARER_TOKEN=t\n", encoding="utf-8"
    )
    _set(monkeypatch, SCHEMA_REGISTRY_PASSWORD=SECRET)

    loaded = settings.load()

    assert ("u", None) == (loaded.schema_registry_username, loaded.schema_registry_bearer_token)


@pytest.mark.parametrize(
    ("protocol", "theirs"),
    [
        ("plaintext", SASL | {"KAFKA_SASL_PASSWORD_FILE": "/nowhere", "KAFKA_SSL_CA_FILE": "/nowhere"}),
        ("SSL", SASL | {"KAFKA_SASL_PASSWORD_FILE": "/nowhere"}),
        ("ssl", OAUTH | {"KAFKA_OAUTH_TOKEN_FILE": "/nowhere"}),
        ("sasl_plaintext", {"KAFKA_SSL_CERTIFICATE_FILE": "/nowhere", "KAFKA_SSL_KEY_FILE": "/nowhere"}),
    ],
)
def test_the_security_protocol_of_the_environment_decides(
    monkeypatch: pytest.MonkeyPatch, protocol: str, theirs: dict[str, str]
) -> None:
    """What it does not use of `.env` does not count, and is not read; beside it in the environment it is an error."""
    Path(".env").write_text("".join(f"STREAMAPP_{name}={value}\n" for name, value in theirs.items()), encoding="utf-8")
    ours = {} if protocol.lower() in {"plaintext", "ssl"} else SASL | {"KAFKA_SASL_PASSWORD": SECRET}
    _set(monkeypatch, **ours | {"KAFKA_SECURITY_PROTOCOL": protocol})

    loaded = settings.load()

    hidden = theirs.keys() - ours.keys() - {"KAFKA_SECURITY_PROTOCOL"}
    assert hidden
    assert {} == {name: value for name in hidden if (value := getattr(loaded, name.lower())) is not None}


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "cannot be read"), (b"\n", "is empty"), (b"\xff", "not a text in UTF-8")]
)
def test_a_secret_file_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """The message names the variable and the file."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    message = _problem(monkeypatch, KAFKA_SASL_PASSWORD_FILE=str(file))

    assert f"STREAMAPP_KAFKA_SASL_PASSWORD_FILE is invalid: {file}" in message
    assert expected in message


@pytest.mark.parametrize("name", ["KAFKA_SASL_PASSWORD_FILE", "MONGO_URI_FILE", "WEB_TOKEN_FILE"])
@pytest.mark.parametrize("secret", ["s3cret", "/s3cret", "s3/cret+=", "/s3/cret", "s3cret" * 100])
def test_a_secret_in_place_of_its_file_is_not_printed(monkeypatch: pytest.MonkeyPatch, name: str, secret: str) -> None:
    """It is often the first thing that somebody tries."""
    message = _problem(monkeypatch, **{name: secret})

    assert message.startswith(f"STREAMAPP_{name} is invalid: the path in it (not shown, ")
    assert "cret" not in message


def test_kafka_spelling_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka writes SASL_SSL and SCRAM-SHA-512; here any case is right."""
    _set(monkeypatch, **SASL, KAFKA_SASL_PASSWORD=SECRET)

    loaded = settings.load()

    assert ("sasl_ssl", "SCRAM-SHA-512") == (loaded.kafka_security_protocol, loaded.kafka_sasl_mechanism)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (SASL, "SCRAM-SHA-512 needs STREAMAPP_KAFKA_SASL_PASSWORD, which is not set"),
        (
            {"KAFKA_SASL_USERNAME": "u"},
            "STREAMAPP_KAFKA_SECURITY_PROTOCOL is not. Set",
        ),
        ({"KAFKA_SSL_CERTIFICATE_FILE": "x"}, "Set STREAMAPP_KAFKA_SECURITY_PROTOCOL=ssl"),
        ({"KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}, "which needs STREAMAPP_KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_SASL_USERNAME": "u"}, "ssl sends no credentials"),
        ({"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_SSL_KEY_FILE": "x"}, "STREAMAPP_KAFKA_SSL_CERTIFICATE_FILE is not"),
        (SASL | {"KAFKA_SASL_MECHANISM": "OAUTHBEARER"}, "needs a token"),
        (SASL | {"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OAUTH_TOKEN_URL": "https://x"}, "_CLIENT_ID is not"),
        (
            SASL
            | {"KAFKA_SASL_MECHANISM": "OAUTHBEARER"}
            | {"KAFKA_OAUTH_TOKEN_URL": "https://x", "KAFKA_OAUTH_TOKEN_FILE": "x"},
            "are both set",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"}, "needs TLS"),
        *(
            (
                SASL | {"KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "KAFKA_SASL_PASSWORD": SECRET, name: "x"},
                f"STREAMAPP_{name} is set, but STREAMAPP_KAFKA_SECURITY_PROTOCOL=sasl_plaintext uses no TLS.",
            )
            for name in ("KAFKA_SSL_CA_FILE", "KAFKA_SSL_CERTIFICATE_FILE")
        ),
        ({"SCHEMA_REGISTRY_USERNAME": "u"}, "STREAMAPP_SCHEMA_REGISTRY_PASSWORD is not"),
        ({"SCHEMA_REGISTRY_PASSWORD": SECRET}, "STREAMAPP_SCHEMA_REGISTRY_USERNAME is not"),
        (
            {"SCHEMA_REGISTRY_USERNAME": "u", "SCHEMA_REGISTRY_PASSWORD": SECRET, "SCHEMA_REGISTRY_BEARER_TOKEN": "t"},
            "are both set",
        ),
        ({"SCHEMA_REGISTRY_SSL_KEY_FILE": "x"}, "STREAMAPP_SCHEMA_REGISTRY_SSL_CERTIFICATE_FILE is not"),
    ],
)
def test_contradictions_are_errors(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], expected: str) -> None:
    """The message names the settings, and what to set."""
    message = _problem(monkeypatch, **values)

    assert expected in message
    assert SECRET not in message


def test_plaintext_that_is_set_wins_over_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """`streamapp up` sets it, beside a `.env` with credentials of another cluster."""
    _set(monkeypatch, **SASL | {"KAFKA_SECURITY_PROTOCOL": "plaintext"})

    assert "plaintext" == settings.load().kafka_security_protocol
