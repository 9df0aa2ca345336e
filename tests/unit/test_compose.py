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

from streamapp.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"worker": "worker", "dashboard": "dashboard"}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")

each_service = pytest.mark.parametrize("service", SERVICES)
each_of_ours = pytest.mark.parametrize("service", OURS)


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Return the settings of someone on the host who has set nothing."""
    return _settings(monkeypatch, tmp_path, {})


def test_compose_follows_the_specification() -> None:
    """compose.yaml is valid by the JSON schema of the Compose Specification."""
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text("utf-8"))

    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


def test_ports_are_the_contract_s_on_loopback() -> None:
    """Each port of the contract is published, on 127.0.0.1 only, and no other."""
    expected = {
        "kafka": ["127.0.0.1:9092:9092"],
        "schema-registry": ["127.0.0.1:8081:8081"],
        "mongodb": ["127.0.0.1:27017:27017"],
        "mongo-express": ["127.0.0.1:8082:8081"],
        "worker": ["127.0.0.1:6066:6066"],
        "dashboard": ["127.0.0.1:8501:8501"],
    }

    assert expected == {name: service["ports"] for name, service in SERVICES.items()}


def test_host_reaches_the_stack_with_defaults(defaults: Settings) -> None:
    """The defaults of the settings are the addresses at which the host finds the containers."""
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]

    assert f"HOST://{defaults.kafka_bootstrap_servers}" in listeners.split(",")
    assert "http://localhost:8081" == defaults.schema_registry_url
    # Direct: the host cannot resolve the name that the replica set's member has.
    assert "mongodb://localhost:27017/?directConnection=true" == defaults.mongo_uri.get_secret_value()
    assert (6066, 8501) == (defaults.web_port, defaults.dashboard_port)


@each_of_ours
def test_variables_are_settings(service: str) -> None:
    """Each STREAMAPP_* variable is one of the settings."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}

    assert set() == set(_variables(service)) - known


@each_of_ours
def test_values_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: str) -> None:
    """Each value passes the settings' validation and arrives as written."""
    variables = _variables(service)

    given = _settings(monkeypatch, tmp_path, variables)

    assert variables == {name: _value(given, name) for name in variables}


@each_of_ours
def test_containers_use_the_others_names(service: str) -> None:
    """In a container no address is the container itself; each names a service and a port it listens on."""
    variables = _variables(service)
    addresses = [value for name, value in variables.items() if name.endswith(("_SERVERS", "_URL", "_URI"))]
    listening = {"kafka:29092", "schema-registry:8081", "mongodb:27017"}

    assert [] == [a for a in addresses if re.sub(r"^\w+://|/.*$", "", a) not in listening]


@each_of_ours
def test_dotenv_is_optional_and_moves_no_port(service: str) -> None:
    """A `.env` made for the host is read if it is there, and changes neither address nor port inside."""
    ports = {"worker": "STREAMAPP_WEB", "dashboard": "STREAMAPP_DASHBOARD"}[service]
    variables = _variables(service)

    assert [{"path": ".env", "required": False}] == SERVICES[service]["env_file"]
    assert "0.0.0.0" == variables[f"{ports}_HOST"]
    assert SERVICES[service]["ports"][0].rpartition(":")[2] == variables[f"{ports}_PORT"]


def test_images_are_pinned() -> None:
    """Each image has a full version as its tag; Kafka and the registry are of one release."""
    images = {name: service["image"] for name, service in SERVICES.items() if "image" in service}
    base = re.search(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)
    assert base is not None

    for image in [*images.values(), base[1]]:
        assert re.search(r":\d+\.\d+\.\d+(-[\w.-]+)?$", image), image
    assert images["kafka"].rpartition(":")[2] == images["schema-registry"].rpartition(":")[2]


def test_no_password_is_written_down() -> None:
    """Neither a variable nor an address holds a password."""
    assert None is re.search(r"://[^/\s]*:[^/\s]*@", TEXT)
    assert None is re.search(r"(?i)^\s*\w*(password|passwd|secret|token|api_?key)\w*:", TEXT, re.MULTILINE)


@each_service
def test_service_has_a_health_check(service: str) -> None:
    """Each service tells when it is ready, within a time limit."""
    check = SERVICES[service]["healthcheck"]

    assert "CMD" == check["test"][0]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize(("service", "path"), [("worker", "6066/healthz"), ("dashboard", "8501/_stcore/health")])
def test_our_health_check_asks_our_port(service: str, path: str) -> None:
    """Our containers are asked by Python, as their image has no curl, at the port they serve."""
    test = SERVICES[service]["healthcheck"]["test"]

    assert ["CMD", "python", "-c"] == test[:3]
    assert f'"http://127.0.0.1:{path}"' in test[3]
    compile(test[3], service, "exec")


def test_services_start_in_order() -> None:
    """Each service waits until those that it needs are healthy."""
    expected = {
        "kafka": set(),
        "schema-registry": {"kafka"},
        "mongodb": set(),
        "mongo-express": {"mongodb"},
        "worker": {"kafka", "schema-registry", "mongodb"},
        "dashboard": {"mongodb"},
    }
    needed = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}

    assert expected == {name: set(others) for name, others in needed.items()}
    assert {"service_healthy"} == {other["condition"] for others in needed.values() for other in others.values()}


@each_of_ours
def test_stop_waits_for_the_shutdown_deadline(defaults: Settings, service: str) -> None:
    """A container is not killed while the shutdown deadline still runs."""
    grace = SERVICES[service]["stop_grace_period"]

    assert int(grace.removesuffix("s")) > defaults.shutdown_deadline_seconds


@each_of_ours
def test_ours_run_from_the_one_image(service: str) -> None:
    """Worker and dashboard are the same image with different commands."""
    assert "." == SERVICES[service]["build"]
    assert ["streamapp", OURS[service]] == SERVICES[service]["command"]


def test_volumes_are_named() -> None:
    """What is stored outlives the containers: each volume is one that compose.yaml declares."""
    mounted = [volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]

    assert sorted(COMPOSE["volumes"]) == sorted(mounted)


def test_dockerfile_copies_what_there_is() -> None:
    """Each source of a COPY exists and is let through by .dockerignore."""
    sources = [source for line in _instructions("COPY") for source in shlex.split(line)[:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}

    assert {"requirements.lock", "schemas", "streamapp", "dashboard"} <= set(sources)
    assert [] == [source for source in sources if not (ROOT / source).exists()]
    assert set(sources) == allowed


def test_image_holds_nothing_private() -> None:
    """What .dockerignore keeps out by its first rule includes `.env` and `.git`."""
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]

    assert "*" == rules[0]
    assert [] == [rule for rule in rules for name in (".env", ".git") if rule != "*" and fnmatch(name, rule[1:])]


def test_image_runs_as_a_user_and_stops_on_sigterm() -> None:
    """The image runs as another user than root; SIGTERM reaches the command itself."""
    assert ["streamapp"] == _instructions("USER")
    assert ["SIGTERM"] == _instructions("STOPSIGNAL")
    assert [["streamapp", "worker"]] == [json.loads(line) for line in _instructions("CMD")]


def test_image_installs_what_is_locked() -> None:
    """The image's packages have the versions of requirements.lock."""
    assert any("pip install --no-cache-dir -c requirements.lock ." in line for line in _instructions("RUN"))


def _settings(monkeypatch: pytest.MonkeyPatch, folder: Path, variables: dict[str, str]) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return Settings()


def _variables(service: str) -> dict[str, str]:
    environment = SERVICES[service]["environment"]
    return {name: value for name, value in environment.items() if name.startswith(PREFIX)}


def _value(settings: Settings, variable: str) -> str:
    value = getattr(settings, variable.removeprefix(PREFIX).lower())
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)
