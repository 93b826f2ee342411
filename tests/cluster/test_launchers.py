"""The files that start clusters: valid for those who read them, closed to the world, and without a secret."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsa_ray import cli
from dsa_ray.config import load
from dsa_ray.placement import bundles

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = {name: yaml.safe_load((CLUSTER / f"{name}.yaml").read_text()) for name in ("aws", "gcp")}
RAY_CLUSTER = yaml.safe_load((CLUSTER / "kuberay-cluster.yaml").read_text())
RAY_JOB = yaml.safe_load((CLUSTER / "kuberay-job.yaml").read_text())
SCRIPTS = sorted([*CLUSTER.glob("*.sh"), *(path for path in (ROOT / ".ci").iterdir() if path.is_file())])
RAY_VERSION = next(
    line.partition("==")[2].strip()
    for line in (ROOT / "requirements" / "gpu.txt").read_text().splitlines()
    if line.startswith("ray==")
)
GROUPS = "cluster.groups={core: core, rank: trainer, teacher: generator, student: generator}"


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_accepts_the_launchers_file(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(LAUNCHERS[name])
    validate_config(filled)
    assert set(filled["available_node_types"]) == {"head", "trainer", "generator"}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_trainer_stays_and_the_generators_come_and_go_on_spot_nodes(name: str) -> None:
    types = LAUNCHERS[name]["available_node_types"]
    assert types["trainer"]["min_workers"] == types["trainer"]["max_workers"] > 0
    assert types["generator"]["min_workers"] == 0 < types["generator"]["max_workers"]
    assert "spot" in str(types["generator"]["node_config"]).lower()
    assert "spot" not in str([types["head"], types["trainer"]]).lower()
    assert "GPU" not in types["head"]["resources"]
    assert sum(types[kind]["max_workers"] for kind in ("trainer", "generator")) <= LAUNCHERS[name]["max_workers"]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_large_configuration_can_be_placed_on_the_launchers_nodes(name: str) -> None:
    config = load(ROOT / "configs" / "cluster-7b-zero3.yaml", [GROUPS])
    types = LAUNCHERS[name]["available_node_types"]
    wanted: dict[str, float] = {}
    for bundle in bundles(config):
        for group in ("trainer", "generator"):
            wanted[group] = wanted.get(group, 0) + (bundle.get("GPU", 0) if group in bundle else 0)
    assert wanted == {"trainer": 8, "generator": 17}
    for group, cards in wanted.items():
        assert cards <= types[group]["max_workers"] * types[group]["resources"]["GPU"]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launched_cluster_asks_for_its_token_and_shows_the_dashboard_to_its_own_machine_only(name: str) -> None:
    config = LAUNCHERS[name]
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token ray start" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert any(path.endswith("auth_token") for path in config["file_mounts"])


def test_no_launched_node_opens_a_port_to_the_world() -> None:
    for kind in LAUNCHERS["aws"]["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"], "without one Ray makes a group with port 22 open to 0.0.0.0/0"
    assert LAUNCHERS["gcp"]["provider"]["use_internal_ips"] is True
    for path in [*CLUSTER.glob("*.yaml"), *SCRIPTS]:
        assert "0.0.0.0/0" not in path.read_text()


@pytest.mark.parametrize("spec", [RAY_CLUSTER["spec"], RAY_JOB["spec"]["rayClusterSpec"]], ids=["cluster", "job"])
def test_a_kuberay_cluster_is_elastic_closed_and_asks_for_a_token(spec: dict[str, Any]) -> None:
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert groups["trainer"]["minReplicas"] == groups["trainer"]["maxReplicas"] == groups["trainer"]["replicas"]
    assert groups["generator"]["minReplicas"] == 0 < groups["generator"]["maxReplicas"]
    assert "spot" in str(groups["generator"]["template"]["spec"]["nodeSelector"])
    opened = {"hostNetwork", "hostPort", "nodePort", "enableIngress", "headService", "privileged"}
    assert opened.isdisjoint(key for _, key, _ in walk(spec))


def test_the_job_runs_on_the_cluster_that_the_other_file_describes() -> None:
    assert RAY_JOB["spec"]["rayClusterSpec"] == RAY_CLUSTER["spec"]
    assert RAY_JOB["spec"]["backoffLimit"] > 0
    assert RAY_JOB["spec"]["shutdownAfterJobFinishes"] is True


def test_the_jobs_entry_point_is_a_run_that_can_be_planned(capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    words = shlex.split(RAY_JOB["spec"]["entrypoint"].replace("/home/ray/dsa_ray", str(ROOT)))
    assert words[:2] == ["python", str(ROOT / "jobs" / "run.py")]
    assert cli.main(["run", *words[2:], "--dry-run"]) == 0
    assert "Placement on" in capsys.readouterr().out


def test_every_place_that_names_a_version_of_ray_names_the_pinned_one() -> None:
    named = re.findall(r"rayproject/ray:([\d.]+)-", (CLUSTER / "Dockerfile").read_text())
    named += [config["docker"]["image"].partition(":")[2].partition("-")[0] for config in LAUNCHERS.values()]
    named += [RAY_CLUSTER["spec"]["rayVersion"]]
    assert set(named) == {RAY_VERSION}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_script_parses_and_stops_at_unset_variables(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^set -e?uo pipefail$", path.read_text(), re.MULTILINE)
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("path", sorted(CLUSTER.iterdir()), ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9]{20,}|-----BEGIN", text)
    assert not re.search(r"(?i)\b(token|password|secret|key)\b\s*[:=]\s*['\"][A-Za-z0-9+/_-]{16,}['\"]", text)


def test_the_image_copies_what_a_run_needs_and_nothing_that_is_not_there() -> None:
    lines = (CLUSTER / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[2:-1]}
    assert {"dsa_ray", "jobs", "configs", "requirements", "pyproject.toml"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    assert "ENV RAY_AUTH_MODE=token" in "\n".join(lines)


@pytest.mark.parametrize("document", [RAY_CLUSTER, RAY_JOB], ids=["cluster", "job"])
def test_kuberays_own_schema_accepts_the_file_and_knows_its_every_field(document: dict[str, Any]) -> None:
    folder = os.environ.get("KUBERAY_CRDS")
    if not folder:
        pytest.skip("KUBERAY_CRDS does not name a folder with ray.io_rayclusters.yaml and ray.io_rayjobs.yaml")
    import jsonschema

    schema = openapi(Path(folder) / f"ray.io_{document['kind'].lower()}s.yaml")
    jsonschema.validate(document, schema)
    assert list(unknown(document, schema)) == []


def openapi(path: Path) -> dict[str, Any]:
    """The schema of version v1 of a custom resource."""
    versions = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]["versions"]
    schema = next(version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1")
    return {
        **schema,
        "properties": {**schema["properties"], "metadata": {"x-kubernetes-preserve-unknown-fields": True}},
    }


def unknown(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Paths of fields that the schema does not have: Kubernetes drops them without a word."""
    if isinstance(value, list):
        for item in value:
            yield from unknown(item, schema.get("items", {}), where)
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    known = schema.get("properties")
    for key, inner in value.items():
        if known is not None and key in known:
            yield from unknown(inner, known[key], f"{where}.{key}")
        elif "additionalProperties" not in schema:
            yield f"{where}.{key}"


def walk(value: Any, where: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every (path, key, value) in nested mappings and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where, key, inner
            yield from walk(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, where)


def test_a_field_that_a_schema_lacks_is_found_wherever_it_stands() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "array", "items": {"properties": {"c": {}}}}}}
    schema = {"properties": {"a": inner, "free": {"x-kubernetes-preserve-unknown-fields": True}}}
    assert list(unknown({"a": {"b": [{"c": 1, "d": 2}]}, "free": {"x": 1}, "e": 3}, schema)) == [".a.b.d", ".e"]
