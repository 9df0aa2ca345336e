"""The manifests in deploy/kubernetes: valid by the API's schemas, complete, restricted, and true to the settings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from streamapp.settings import PREFIX, Settings, load

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
EXAMPLE = FOLDER / "overlays" / "example"
FILES = sorted(FOLDER.rglob("*.yaml"))
KUSTOMIZATIONS = [path for path in FILES if path.name == "kustomization.yaml"]
CONFIGURATIONS = [path for path in FILES if path.name == "name-reference.yaml"]
MANIFESTS = [path for path in FILES if path not in [*KUSTOMIZATIONS, *CONFIGURATIONS]]
#: Kinds of operators, whose schemas are not the API server's.
FOREIGN = {"ScaledObject", "ServiceMonitor"}
VERSIONS = ("1.30", "1.37")

Manifest = dict[str, Any]


def _documents(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]


def _variables(file: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in file.read_text("utf-8").splitlines())
    return {name: value for name, _, value in pairs}


ALL: list[Manifest] = [document for path in MANIFESTS for document in _documents(path)]
DEPLOYMENTS = {each["metadata"]["name"]: each for each in ALL if each["kind"] == "Deployment"}

each_deployment = pytest.mark.parametrize("name", DEPLOYMENTS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifest_is_valid(path: Path, version: str) -> None:
    """Each manifest follows the schemas of the API server, and has no field that they do not know."""
    for document in _documents(path):
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)


def test_schemas_refuse_an_unknown_field() -> None:
    """The validation is strict."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kustomization_names_what_there_is(path: Path) -> None:
    """Each kustomization names files and folders that exist, and each manifest is in one."""
    (kustomization,) = _documents(path)
    named = [*kustomization.get("resources", []), *kustomization.get("components", [])]
    configurations = kustomization.get("configurations", [])

    assert [] == [name for name in [*named, *configurations] if not (path.parent / name).exists()]
    assert configurations == [file.name for file in CONFIGURATIONS if file.parent == path.parent]
    assert {name for name in named if name.endswith(".yaml")} == {
        manifest.name for manifest in MANIFESTS if manifest.parent == path.parent
    }


@each_deployment
def test_pod_has_no_rights(name: str) -> None:
    """Each pod satisfies the profile `restricted` of the pod security standards, with a read-only file system."""
    pod = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    for_all = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert for_all.items() <= pod["securityContext"].items()
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert not pod["automountServiceAccountToken"]
    assert container["resources"]["limits"]["memory"]


@each_deployment
def test_pod_is_asked_how_it_is(name: str) -> None:
    """A pod is restarted if its process hangs, and gets no traffic while a server does not answer."""
    (container,) = DEPLOYMENTS[name]["spec"]["template"]["spec"]["containers"]
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    alive = "/healthz" if name == "streamapp-worker" else "/_stcore/health"

    assert {"startup": alive, "liveness": alive, "readiness": "/readyz"} == paths


@each_deployment
def test_pod_may_end_in_time(name: str) -> None:
    """The grace period is longer than the deadline of a stop."""
    grace = DEPLOYMENTS[name]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    assert grace > Settings.model_fields["shutdown_deadline_seconds"].default


def test_variables_are_settings() -> None:
    """Each variable is one of the settings; secrets come from files."""
    (container,), (page,) = (each["spec"]["template"]["spec"]["containers"] for each in DEPLOYMENTS.values())
    names = {name for file in (EXAMPLE / "streamapp.env", EXAMPLE / "dashboard.env") for name in _variables(file)}
    names |= {variable["name"] for each in (container, page) for variable in each["env"]}

    assert set() == names - {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert not any("URI" in name and not name.endswith("_FILE") for name in names)


def test_files_of_secrets_are_where_the_variables_say() -> None:
    """Each file that a variable names is in a secret of the overlay, and the secret is mounted there."""
    (overlay,) = _documents(EXAMPLE / "kustomization.yaml")
    secrets = {each["name"]: {file.partition("=")[0] for file in each["files"]} for each in overlay["secretGenerator"]}

    for deployment in DEPLOYMENTS.values():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        paths = {each["value"] for each in container["env"] if each["name"].endswith("_FILE")}
        folder = next(each["mountPath"] for each in container["volumeMounts"] if each["name"] == "secrets")
        (volume,) = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
        assert paths == {f"{folder}/{file}" for file in secrets[volume]}


def test_metrics_require_a_token_that_prometheus_has() -> None:
    """The worker listens for the whole cluster, with a token; the ServiceMonitor names the same key of its secret."""
    pod = DEPLOYMENTS["streamapp-worker"]["spec"]["template"]["spec"]
    variables = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    (secret,) = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
    (monitor,) = [each for each in ALL if each["kind"] == "ServiceMonitor"]

    assert "0.0.0.0" == variables["STREAMAPP_WEB_HOST"]
    key = Path(variables["STREAMAPP_WEB_TOKEN_FILE"]).name
    assert [{"credentials": {"name": secret, "key": key}}] == [
        endpoint["authorization"] for endpoint in monitor["spec"]["endpoints"]
    ]


def test_each_program_has_settings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ConfigMap is shared: the dashboard cannot read a file that a setting of the worker names, and would stop."""
    (overlay,) = _documents(EXAMPLE / "kustomization.yaml")
    files = {each["name"]: each["envs"] for each in overlay["configMapGenerator"]}
    used = {
        name: each["configMapRef"]["name"]
        for name, deployment in DEPLOYMENTS.items()
        for container in deployment["spec"]["template"]["spec"]["containers"]
        for each in container["envFrom"]
    }
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, value in _variables(EXAMPLE / "dashboard.env").items():
        monkeypatch.setenv(name, value)

    assert {"streamapp-worker": "streamapp", "streamapp-dashboard": "streamapp-dashboard"} == used
    assert {"streamapp": ["streamapp.env"], "streamapp-dashboard": ["dashboard.env"]} == files
    assert "STREAMAPP_DASHBOARD_ALLOWED_HOSTS" not in _variables(EXAMPLE / "streamapp.env")
    assert "streamapp.example.com" == load().dashboard_allowed_hosts


def test_scaling_stops_at_the_partitions() -> None:
    """There are never more workers than partitions that we create."""
    partitions = Settings.model_fields["partitions"].default
    limits = [each["spec"].get(name) for each in ALL for name in ("maxReplicas", "maxReplicaCount") if "spec" in each]

    assert {partitions, None} == set(limits)


def test_kubectl_builds_the_overlay(tmp_path: Path) -> None:
    """What `kubectl apply --kustomize` would send is valid and has the namespace, the images and the secrets."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    overlay = tmp_path / "overlays" / "example"
    (overlay / "secrets").mkdir(exist_ok=True)
    for name in ("mongo-uri", "dashboard-mongo-uri", "web-token"):
        (overlay / "secrets" / name).write_text("mongodb://mongodb.example.com", "utf-8")

    built = subprocess.run(["kubectl", "kustomize", overlay], stdout=subprocess.PIPE, text=True, check=True).stdout

    documents = list(yaml.safe_load_all(built))
    for document in documents:
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    (monitor,) = [document for document in documents if document["kind"] == "ServiceMonitor"]
    secrets = {document["metadata"]["name"] for document in documents if document["kind"] == "Secret"}
    assert {each["authorization"]["credentials"]["name"] for each in monitor["spec"]["endpoints"]} <= secrets
    kinds = [document["kind"] for document in documents]
    assert {"streamapp", "streamapp-dashboard"} == {
        document["metadata"]["name"].rpartition("-")[0] for document in documents if document["kind"] == "ConfigMap"
    }
    assert {"Deployment", "Secret", "ConfigMap", "Ingress", "PodDisruptionBudget", *FOREIGN} <= set(kinds)
    assert {"streamapp"} == {each["metadata"].get("namespace", "streamapp") for each in documents}
