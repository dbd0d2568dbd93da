"""deploy/kubernetes: what can be known of the manifests without a cluster, and kustomize's word where it is there."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.known_settings import module_of, variables

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    thing for name in KUSTOMIZATION["resources"] for thing in yaml.safe_load_all((FOLDER / name).read_text())
]
PODS = {
    thing["metadata"]["name"]: thing["spec"]["template"]
    for thing in OBJECTS
    if thing["kind"] in {"Deployment", "StatefulSet", "Job"}
}
CONTAINERS = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}
MAPS = {
    made["name"]: dict(literal.split("=", 1) for literal in made["literals"])
    for made in KUSTOMIZATION["configMapGenerator"]
}
SECRETS: Final = {
    "kafka": {"KAFKA_OPTIONS"},
    "clickhouse": {"CLICKHOUSE_PASSWORD"},
    "teacher": {"TEACHER_API_KEY"},
    "control": {"CONTROL_TOKEN"},
    "intake": {"GATEWAY_API_KEY"},
}
"""The keys of the secrets that deploy/README.md tells people to make."""


def settings_of(name: str) -> dict[str, str]:
    """The variables that a container gets with a value that is written here."""
    maps = [source["configMapRef"]["name"] for source in CONTAINERS[name]["envFrom"] if "configMapRef" in source]
    given = {variable: value for source in maps for variable, value in MAPS[source].items()}
    return given | {entry["name"]: entry["value"] for entry in CONTAINERS[name].get("env", [])}


def secrets_of(name: str) -> set[str]:
    return {source["secretRef"]["name"] for source in CONTAINERS[name]["envFrom"] if "secretRef" in source}


def test_every_file_is_listed_and_every_program_is_there() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert set(PODS) == {"topics", "gateway", "intake", "sink", "sampler", "controller"}


@pytest.mark.parametrize("name", PODS)
def test_a_program_is_given_only_variables_that_it_reads(name: str) -> None:
    secret = {variable for source in secrets_of(name) for variable in SECRETS[source]}
    assert set(settings_of(name)) | secret <= variables(module_of(CONTAINERS[name]["args"]))


def test_no_secret_is_written_down() -> None:
    assert all(thing["kind"] != "Secret" for thing in OBJECTS)
    assert "secretGenerator" not in KUSTOMIZATION
    assert not {variable for name in PODS for variable in settings_of(name)} & {
        key for keys in SECRETS.values() for key in keys
    }


def test_people_are_told_of_every_secret() -> None:
    readme = (FOLDER.parent / "README.md").read_text()
    for name, keys in SECRETS.items():
        assert all(re.search(rf"create secret generic {name}\b.*{key}", readme) for key in keys)


@pytest.mark.parametrize("name", PODS)
def test_a_program_has_no_privileges(name: str) -> None:
    pod, container = PODS[name]["spec"], CONTAINERS[name]["securityContext"]
    assert len(pod["containers"]) == 1
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001  # the user of deploy/Dockerfile
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


@pytest.mark.parametrize("name", PODS)
def test_a_program_says_what_it_needs_and_which_version_it_is(name: str) -> None:
    assert set(CONTAINERS[name]["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in CONTAINERS[name]["resources"]["limits"]
    image, _, tag = CONTAINERS[name]["image"].partition(":")
    assert re.fullmatch(r"\d+\.\d+\.\d+", tag)
    assert {"name": image, "newTag": tag} in KUSTOMIZATION["images"]


@pytest.mark.parametrize("name", [name for name in PODS if name != "topics"])
def test_a_probe_asks_where_the_program_listens(name: str) -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINERS[name]["ports"]}
    listens = {value.rpartition(":")[2] for key, value in settings_of(name).items() if key.endswith("_LISTEN")}
    assert {str(port) for port in ports.values()} == listens
    for probe in (probe for key, probe in CONTAINERS[name].items() if key.endswith("Probe")):
        asked = probe["grpc"]["port"] if "grpc" in probe else ports[probe["httpGet"]["port"]]
        assert asked == ports["grpc" if "grpc" in ports else "metrics"]


@pytest.mark.parametrize("name", [name for name in PODS if name != "topics"])
def test_what_a_program_writes_lies_on_a_volume(name: str) -> None:
    mounted = {mount["mountPath"] for mount in CONTAINERS[name]["volumeMounts"]}
    written = {value for key, value in settings_of(name).items() if key.endswith(("_DIR", "_REPOSITORY"))}
    assert all(any(path.startswith(mount) for mount in mounted) for path in {*written, "/tmp/x"})  # noqa: S108
    own = [thing for thing in OBJECTS if thing["metadata"]["name"] == name and "template" in thing["spec"]]
    claimed = {claim["metadata"]["name"] for claim in own[0]["spec"].get("volumeClaimTemplates", [])}
    there = claimed | {volume["name"] for volume in PODS[name]["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINERS[name]["volumeMounts"]} == there


def test_a_spool_outlives_its_gateway() -> None:
    [gateway] = [thing for thing in OBJECTS if thing["kind"] == "StatefulSet"]
    [claim] = gateway["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINERS["gateway"]["volumeMounts"]}
    assert settings_of("gateway")["SPOOL_DIR"].startswith(mounts[claim["metadata"]["name"]])
    storage_gi = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert int(settings_of("gateway")["SPOOL_MAX_BYTES"]) < storage_gi * 2**30


def test_the_sampler_expects_as_many_partitions_as_the_topics_get() -> None:
    arguments = CONTAINERS["topics"]["args"]
    assert settings_of("sampler")["SAMPLER_PARTITIONS"] == arguments[arguments.index("--partitions") + 1]


def test_two_controllers_never_overlap() -> None:
    [controller] = [t for t in OBJECTS if t["kind"] == "Deployment" and t["metadata"]["name"] == "controller"]
    assert controller["spec"]["replicas"] == 1
    assert controller["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("service", [thing for thing in OBJECTS if thing["kind"] == "Service"])
def test_a_service_leads_to_a_port_of_its_pods(service: dict[str, Any]) -> None:
    name = service["spec"]["selector"]["app"]
    assert PODS[name]["metadata"]["labels"]["app"] == name
    ports = {port["name"]: port["containerPort"] for port in CONTAINERS[name]["ports"]}
    assert [(port["port"]) for port in service["spec"]["ports"]] == [ports[service["spec"]["ports"][0]["targetPort"]]]


def test_kustomize_builds_it() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on this machine")
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(OBJECTS) + len(MAPS)
    assert {thing["metadata"].get("namespace") for thing in built if thing["kind"] != "Namespace"} == {"tutelage"}
