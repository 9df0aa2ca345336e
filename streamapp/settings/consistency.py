"""Check settings that belong together: each error names the settings, says what is wrong and what to set."""

from __future__ import annotations

from collections.abc import Iterator

from streamapp.settings.kafka import KafkaSettings
from streamapp.settings.names import variable
from streamapp.settings.processes import ProcessSettings
from streamapp.settings.registry import RegistrySettings

_KAFKA_CREDENTIALS = (
    "kafka_sasl_mechanism",
    "kafka_sasl_username",
    "kafka_sasl_password",
    "kafka_oauth_token_url",
    "kafka_oauth_token_file",
)
_KAFKA_TLS_FILES = ("kafka_ssl_certificate_file", "kafka_ssl_ca_file")
_PROTOCOL, _MECHANISM = variable("kafka_security_protocol"), variable("kafka_sasl_mechanism")


def kafka_problems(settings: KafkaSettings) -> Iterator[str]:
    """Yield a line for each contradiction between settings of Kafka."""
    protocol = settings.kafka_security_protocol
    if "kafka_security_protocol" not in settings.model_fields_set:
        yield from _protocol_missing(settings)
    elif protocol.startswith("sasl_"):
        yield from _sasl(settings)
    elif protocol == "ssl" and (given := _first_set(settings, _KAFKA_CREDENTIALS)):
        yield f"{variable(given)} is set, but {_PROTOCOL}=ssl sends no credentials. Set {_PROTOCOL}=sasl_ssl."
    if settings.kafka_ssl_key_file and not settings.kafka_ssl_certificate_file:
        yield _needs("kafka_ssl_key_file", "kafka_ssl_certificate_file")


def _protocol_missing(settings: KafkaSettings) -> Iterator[str]:
    """Credentials and certificates that would not be used, because the default is plaintext."""
    if given := _first_set(settings, _KAFKA_CREDENTIALS):
        yield f"{variable(given)} is set, but {_PROTOCOL} is not. Set {_PROTOCOL}=sasl_ssl."
    elif given := _first_set(settings, _KAFKA_TLS_FILES):
        yield f"{variable(given)} is set, but {_PROTOCOL} is not. Set {_PROTOCOL}=ssl."


def _sasl(settings: KafkaSettings) -> Iterator[str]:
    mechanism = settings.kafka_sasl_mechanism
    given = _first_set(settings, _KAFKA_TLS_FILES)
    if given and settings.kafka_security_protocol == "sasl_plaintext":
        yield f"{variable(given)} is set, but {_PROTOCOL}=sasl_plaintext uses no TLS. Set {_PROTOCOL}=sasl_ssl."
    if mechanism is None:
        protocol = settings.kafka_security_protocol
        yield f"{_PROTOCOL} is {protocol}, which needs {_MECHANISM}. Example: {_MECHANISM}=PLAIN"
    elif mechanism == "OAUTHBEARER":
        yield from _oauth(settings)
    elif mechanism == "AWS_MSK_IAM":
        if settings.kafka_security_protocol != "sasl_ssl":
            yield f"{_MECHANISM}=AWS_MSK_IAM needs TLS. Set {_PROTOCOL}=sasl_ssl."
    else:
        for name in ("kafka_sasl_username", "kafka_sasl_password"):
            if getattr(settings, name) is None:
                yield f"{_MECHANISM}={mechanism} needs {variable(name)}, which is not set."


def _oauth(settings: KafkaSettings) -> Iterator[str]:
    url, file = settings.kafka_oauth_token_url, settings.kafka_oauth_token_file
    names = f"{variable('kafka_oauth_token_url')} and {variable('kafka_oauth_token_file')}"
    if url and file:
        yield f"{names} are both set. Remove one of them."
    elif not url and not file:
        yield f"{_MECHANISM}=OAUTHBEARER needs a token. Set one of {names}."
    elif url:
        for name in ("kafka_oauth_client_id", "kafka_oauth_client_secret"):
            if getattr(settings, name) is None:
                yield _needs("kafka_oauth_token_url", name)


def registry_problems(settings: RegistrySettings) -> Iterator[str]:
    """Yield a line for each contradiction between settings of the registry."""
    pair = ("schema_registry_username", "schema_registry_password")
    for name, other in (pair, pair[::-1]):
        if getattr(settings, name) is not None and getattr(settings, other) is None:
            yield _needs(name, other)
    if settings.schema_registry_username is not None and settings.schema_registry_bearer_token is not None:
        names = f"{variable('schema_registry_username')} and {variable('schema_registry_bearer_token')}"
        yield f"{names} are both set. Remove one of them."
    if settings.schema_registry_ssl_key_file and not settings.schema_registry_ssl_certificate_file:
        yield _needs("schema_registry_ssl_key_file", "schema_registry_ssl_certificate_file")


def dashboard_problems(settings: ProcessSettings) -> Iterator[str]:
    """Yield a line for each threshold of a warning beyond that of what is critical."""
    for signal in ("waiting_{}_seconds", "latency_{}_seconds", "dead_letters_{}_ratio"):
        warning, critical = (f"dashboard_{signal.format(severity)}" for severity in ("warning", "critical"))
        if getattr(settings, warning) > getattr(settings, critical):
            yield f"{variable(warning)} is larger than {variable(critical)}. Set it to the same or a smaller number."


def _needs(name: str, other: str) -> str:
    return f"{variable(name)} is set, but {variable(other)} is not. Set both or none."


def _first_set(settings: KafkaSettings, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if getattr(settings, name) is not None), None)
