"""compose.yaml and the Dockerfile, held to the Compose Specification, the contract and the settings."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streamapp.settings import CONNECTION_SETTINGS, PREFIX, Settings, load, variable

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"worker": "worker", "dashboard": "dashboard", "external-worker": "worker", "external-dashboard": "dashboard"}
IN_STACK = ["worker", "dashboard"]
#: Those of our images, whose health check is in the Dockerfile.
CHECKED_BY_IMAGE = {*OURS, "worker-port"}
#: A user of the profile `external` creates it, as docs/how-to/run-with-compose.md says.
EXTERNAL_SECRETS = "./secrets/external"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")

#: `.env` files as `streamapp up | tee .env`, `streamapp up --secure | tee .env` and the guides write them.
DOTENV_FILES: dict[str, dict[str, str]] = {
    "up": {
        "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "STREAMAPP_SCHEMA_REGISTRY_URL": "http://127.0.0.1:8081",
        "STREAMAPP_MONGO_URI": "mongodb://127.0.0.1:27017/?directConnection=true",
    },
    "up --secure": {
        "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "STREAMAPP_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "STREAMAPP_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "STREAMAPP_KAFKA_SASL_USERNAME": "streamapp",
        "STREAMAPP_KAFKA_SASL_PASSWORD_FILE": "/on/the/host/secure/kafka-password",
        "STREAMAPP_TLS_CA_FILE": "/on/the/host/secure/ca.pem",
        "STREAMAPP_SCHEMA_REGISTRY_URL": "https://127.0.0.1:8081/apis/ccompat/v7",
        "STREAMAPP_SCHEMA_REGISTRY_USERNAME": "streamapp",
        "STREAMAPP_SCHEMA_REGISTRY_PASSWORD_FILE": "/on/the/host/secure/registry-password",
        "STREAMAPP_MONGO_URI_FILE": "/on/the/host/secure/mongo-uri",
        "STREAMAPP_DASHBOARD_MONGO_URI_FILE": "/on/the/host/secure/dashboard-mongo-uri",
    },
    "MongoDB of the stack": {"STREAMAPP_MONGO_URI_FILE": "secrets/mongodb-host-uri"},
    "everything": {variable(name): "/on/the/host" for name in CONNECTION_SETTINGS},
}

each_service = pytest.mark.parametrize("service", SERVICES)
each_of_ours = pytest.mark.parametrize("service", OURS)
each_in_stack = pytest.mark.parametrize("service", IN_STACK)


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Return the settings of someone on the host who has set nothing."""
    return _settings(monkeypatch, tmp_path, {})


def test_compose_follows_the_specification() -> None:
    """compose.yaml is valid by the JSON schema of the Compose Specification."""
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text("utf-8"))

    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


def test_ports_are_the_contract_s_on_loopback() -> None:
    """Each port of the contract is published, on 127.0.0.1 only, and can be changed by a variable."""
    expected = {
        "kafka": "127.0.0.1:9092:9092",
        "schema-registry": "127.0.0.1:8081:8081",
        "mongodb": "127.0.0.1:27017:27017",
        "mongo-express": "127.0.0.1:8082:8081",
        "worker-port": "127.0.0.1:6066:6066",
        "dashboard": "127.0.0.1:8501:8501",
    }
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}

    for port in [port for ports in published.values() for port in ports]:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{STACK_\w+_PORT:-\d+\}:\d+", port), port
    assert expected == {name: _with_defaults(published[name][0]) for name in expected}


def test_workers_publish_no_port() -> None:
    """So that `--scale worker=3` needs one port of the host only, that of `worker-port`."""
    assert "ports" not in SERVICES["worker"]


def test_only_the_stack_starts_without_a_profile() -> None:
    """Tools, clusters, observability and external servers are asked for."""
    by_profile: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        by_profile.setdefault(",".join(service.get("profiles", [])), set()).add(name)

    assert {
        "": {"kafka", "schema-registry", "mongodb", "worker", "worker-port", "dashboard"},
        "cluster": {"kafka-2", "kafka-3", "mongodb-2", "mongodb-3"},
        "external": {"external-worker", "external-dashboard"},
        "observability": {"prometheus", "grafana"},
        "tools": {"mongo-express"},
    } == by_profile


def test_host_reaches_the_stack_with_defaults(defaults: Settings) -> None:
    """The defaults of the settings are the addresses at which the host finds Kafka and the registry."""
    listeners = _with_defaults(SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"])

    assert f"HOST://{defaults.kafka_bootstrap_servers}" in listeners.split(",")
    assert "http://localhost:8081" == defaults.schema_registry_url
    assert (6066, 8501) == (defaults.web_port, defaults.dashboard_port)


@each_of_ours
def test_variables_are_settings(service: str) -> None:
    """Each STREAMAPP_* variable is one of the settings."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}

    assert set() == set(_variables(service)) - known


@each_of_ours
def test_values_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: str) -> None:
    """Each value passes the settings' validation and arrives as written."""
    variables = _given(_with_secrets(tmp_path, _variables(service)))

    given = _settings(monkeypatch, tmp_path, variables)

    assert variables == {name: _value(given, name) for name in variables}


@each_in_stack
@pytest.mark.parametrize("dotenv", DOTENV_FILES.values(), ids=DOTENV_FILES)
def test_dotenv_for_the_host_moves_no_server_of_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: str, dotenv: dict[str, str]
) -> None:
    """With a `.env` for commands on the host the settings are valid, and the same as without it."""
    variables = _with_secrets(tmp_path, _variables(service))
    _settings(monkeypatch, tmp_path, variables)
    expected = load()

    # Compose gives the container the `.env`, and `environment` wins over it.
    _settings(monkeypatch, tmp_path, {**dotenv, **variables})

    assert expected == load()


@each_in_stack
def test_containers_use_the_others_names(service: str) -> None:
    """In a container no address is the container itself; each names a service and a port it listens on."""
    variables = _given(_variables(service))
    addresses = [value for name, value in variables.items() if name.endswith(("_SERVERS", "_URL", "_URI"))]
    listening = {"kafka:29092", "schema-registry:8081"}

    assert [] == [a for a in addresses if re.sub(r"^\w+://|/.*$", "", a) not in listening]


@each_of_ours
def test_dotenv_is_optional_and_moves_no_port(service: str) -> None:
    """A `.env` made for the host is read if it is there, and changes neither address nor port inside."""
    prefix, port = {"worker": ("STREAMAPP_WEB", "6066"), "dashboard": ("STREAMAPP_DASHBOARD", "8501")}[OURS[service]]
    variables = _variables(service)

    assert [{"path": ".env", "required": False}] == SERVICES[service]["env_file"]
    assert ("0.0.0.0", port) == (variables[f"{prefix}_HOST"], variables[f"{prefix}_PORT"])


def test_images_are_pinned() -> None:
    """Images have full versions as tags, our base a digest too; Kafka and the registry are of one release."""
    images = {name: service["image"] for name, service in SERVICES.items() if not service["image"].startswith("$")}
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)

    for image in images.values():
        assert re.search(r":v?\d+\.\d+\.\d+(-[\w.-]+)?$", image), image
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-[\w.-]+@sha256:[0-9a-f]{64}", base)
    assert {"${BASE_IMAGE}"} <= set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert images["kafka"].rpartition(":")[2] == images["schema-registry"].rpartition(":")[2]


def test_no_password_is_written_down() -> None:
    """Neither a variable nor an address holds a password."""
    assert None is re.search(r"://[^/\s]*:[^/\s]*@", TEXT)
    environments = [_given(service.get("environment", {})) for service in SERVICES.values()]
    variables = [name for environment in environments for name in environment]
    assert [] == [name for name in variables if re.search("PASSWORD|SECRET|TOKEN|KEY", name) and "FILE" not in name]
    files = {name: secret["file"] for name, secret in COMPOSE["secrets"].items()}
    assert {name: f"secrets/{name}" for name in files} == files
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in CHECKED_BY_IMAGE])
def test_service_has_a_health_check(service: str) -> None:
    """Each service tells when it is ready, within a time limit; ours have the check of their image."""
    check = SERVICES[service]["healthcheck"]

    assert "CMD" == check["test"][0]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_health_check_of_our_images_asks_for_readiness() -> None:
    """The check of the images asks the port that they serve for /readyz."""
    script = (ROOT / "deploy" / "image" / "healthcheck.py").read_text("utf-8")

    assert "/readyz" in script
    assert "6066" in script
    assert "8501" in script
    assert 'CMD ["healthcheck"]' in _instructions("HEALTHCHECK")[0]


@each_service
def test_service_has_no_rights_that_it_does_not_need(service: str) -> None:
    """Each container has no capabilities, a memory limit, and comes back; ours have a read-only root file system."""
    given = SERVICES[service]

    assert ["ALL"] == given["cap_drop"]
    assert ["no-new-privileges:true"] == given["security_opt"]
    assert "unless-stopped" == given["restart"]
    assert given["mem_limit"]
    assert given.get("read_only") or service not in CHECKED_BY_IMAGE


def test_services_start_in_order() -> None:
    """Each service waits until those that it needs are healthy."""
    brokers = {"kafka", "kafka-2", "kafka-3"}
    expected = {
        "schema-registry": brokers,
        "mongo-express": {"mongodb"},
        "worker": {*brokers, "schema-registry", "mongodb"},
        "worker-port": {"worker"},
        "dashboard": {"mongodb"},
        "grafana": {"prometheus"},
    }
    needed = {name: service["depends_on"] for name, service in SERVICES.items() if "depends_on" in service}

    assert expected == {name: set(others) for name, others in needed.items()}
    conditions = [others for others in needed.values() if isinstance(others, dict)]
    assert {"service_healthy"} == {other["condition"] for others in conditions for other in others.values()}


@each_of_ours
def test_stop_waits_for_the_shutdown_deadline(defaults: Settings, service: str) -> None:
    """A container is not killed while the shutdown deadline still runs."""
    grace = SERVICES[service]["stop_grace_period"]

    assert int(grace.removesuffix("s")) > defaults.shutdown_deadline_seconds


@each_of_ours
def test_ours_run_from_the_one_dockerfile(service: str) -> None:
    """Worker and dashboard are two targets of the same file."""
    assert {"context": ".", "target": OURS[service]} == SERVICES[service]["build"]
    assert ["streamapp", OURS[service]] == SERVICES[service]["command"]


def test_volumes_are_named() -> None:
    """What is stored outlives the containers: each volume is one that compose.yaml declares."""
    mounted = [volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]

    assert sorted(COMPOSE["volumes"]) == sorted(source for source in mounted if not source.startswith("./"))
    from_checkout = {source for source in mounted if source.startswith("./")} - {EXTERNAL_SECRETS}
    assert set() == {source for source in from_checkout if not (ROOT / source).exists()}


@pytest.mark.parametrize("service", ["external-worker", "external-dashboard"])
def test_external_services_have_the_files_that_settings_name(service: str) -> None:
    """The files below /run/secrets that `.env.example` names for services come from a folder that git ignores."""
    assert [f"{EXTERNAL_SECRETS}:/run/secrets:ro"] == SERVICES[service]["volumes"]
    assert _is_ignored(f"{EXTERNAL_SECRETS.removeprefix('./')}/kafka-password")


def test_compose_replaces_nothing_in_example_values() -> None:
    """Each value with a $ in `.env.example` is in single quotes, where Compose replaces no variable."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    values = [line.partition("=")[2] for line in lines if re.match(rf"# ?{PREFIX}\w+=", line)]

    dollars = [value for value in values if "$" in value]
    assert ["'$ConnectionString'"] == dollars


def test_dockerfile_copies_what_there_is() -> None:
    """Each source of a COPY from the checkout exists and is let through by .dockerignore, and nothing else is."""
    copies = [line for line in _instructions("COPY") if not line.startswith("--from=")]
    sources = {word for line in copies for word in shlex.split(line)[:-1] if not word.startswith("--")}
    allowed = {line[1:] for line in _ignored() if line.startswith("!")}

    assert [] == [source for source in sources if not (ROOT / source).exists()]
    assert [] == [source for source in sources if not any(f"{source}/".startswith(f"{each}/") for each in allowed)]
    assert [] == [each for each in allowed if not any(f"{source}/".startswith(f"{each}/") for source in sources)]


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.local", "streamapp/.env", "dashboard/views/.env.production", ".git/config"),
        *("dashboard/.streamlit/secrets.toml", "dashboard/secrets.toml", "secrets/mongodb-keyfile"),
        *("schemas/.venv/bin/python", "streamapp/.venv-3.11/x", "streamapp/tls.key", "deploy/image/ca.pem"),
    ],
)
def test_nothing_private_gets_into_a_build(path: str) -> None:
    """At every level .dockerignore keeps environments, keys and secrets out."""
    assert _is_ignored(path)


@pytest.mark.parametrize("path", ["streamapp/net.py", "dashboard/.streamlit/config.toml", "locks/worker.lock"])
def test_what_is_built_gets_into_a_build(path: str) -> None:
    """The rules against secrets keep no file of the project out."""
    assert (ROOT / path).exists()
    assert not _is_ignored(path)


def test_image_runs_as_a_user_and_stops_on_sigterm() -> None:
    """The images run as a numeric user; SIGTERM reaches the command itself, without an init."""
    assert ["10001:10001"] == _instructions("USER")
    assert ["SIGTERM"] == _instructions("STOPSIGNAL")
    assert [["env", "--block-signal=TERM", "--block-signal=INT"]] == [
        json.loads(line) for line in _instructions("ENTRYPOINT")
    ]
    assert [["streamapp", "dashboard"], ["streamapp", "worker"]] == [json.loads(line) for line in _instructions("CMD")]
    assert not any(service.get("init") for service in SERVICES.values())


def test_image_installs_what_is_locked() -> None:
    """All packages are installed from the lock files with hashes."""
    script = (ROOT / "deploy" / "image" / "install").read_text("utf-8")

    assert "--require-hashes --no-deps" in script
    assert {"build", "dashboard", "worker"} == set(re.findall(r"install-lock \S*?(\w+)\.lock", DOCKERFILE))


def _settings(monkeypatch: pytest.MonkeyPatch, folder: Path, variables: dict[str, str]) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return Settings()


def _variables(service: str) -> dict[str, str]:
    environment = SERVICES[service]["environment"]
    return {name: _with_defaults(value) for name, value in environment.items() if name.startswith(PREFIX)}


def _given(variables: dict[str, str]) -> dict[str, str]:
    """Return the variables that are not empty; an empty one counts as unset."""
    return {name: value for name, value in variables.items() if value}


def _with_secrets(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return the variables with the files of secrets in this folder, which get a connection string."""
    files = {name: folder / Path(value).name for name, value in _given(variables).items() if name.endswith("_FILE")}
    for file in files.values():
        file.write_text("mongodb://mongodb-set:27017", "utf-8")
    return variables | {name: str(file) for name, file in files.items()}


def _with_defaults(text: str) -> str:
    """Return the text as Compose reads it if no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def _ignored() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _is_ignored(path: str) -> bool:
    """Return whether Docker leaves the file out: the last rule that matches the path or one of its folders decides."""
    parents = [path, *map(str, Path(path).parents)][:-1] if "/" in path else [path]
    ignored = False
    for rule in _ignored():
        pattern = rule.removeprefix("!")
        names = [parent.rpartition("/")[2] if pattern.startswith("**/") else parent for parent in parents]
        if any(fnmatch(name, pattern.removeprefix("**/")) and ("/" in pattern or "/" not in name) for name in names):
            ignored = not rule.startswith("!")
    return ignored


def _value(settings: Settings, variable: str) -> str:
    value = getattr(settings, variable.removeprefix(PREFIX).lower())
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)
