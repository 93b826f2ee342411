"""What nobody may do to a run from outside: reach its processes, have its files executed, read its keys."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
import yaml

from dsa_ray import plain_yaml
from dsa_ray.actors.own_ray import LOOPBACK, on_loopback, start_ray
from dsa_ray.exits import Exit
from dsa_ray.skills.files import bounds
from tests.engines.scripted_server import Reply, completion, error, serve
from tests.engines.tiny_model import tiny_llama
from tests.test_job_cluster import head, home  # noqa: F401 (fixtures)
from tests.test_ring import drive, small

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("dsa_ray/**/*.py"), *ROOT.glob("jobs/**/*.py")])
RANK = "RayTrainWorker"
"""The first rank keeps torch's store of addresses, which cannot be told where to listen. It runs nothing."""
KEY = "sk-hidden0123456789"


def test_what_would_run_code_from_a_file_or_a_string_is_not_used() -> None:
    assert [found for path in FILES for found in faults(path, ast.parse(path.read_text()))] == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(text)",
        "compile(text, 'name', 'exec')",
        "__import__(name)",
        "import pickle\npickle.loads(data)",
        "from pickle import loads",
        "import dill",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
        "import yaml\nyaml.unsafe_load(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import os\nos.system(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_rules_catch_what_would(source: str) -> None:
    assert list(faults(ROOT / "dsa_ray" / "some.py", ast.parse(source)))


def faults(path: Path, tree: ast.AST) -> Iterator[str]:
    """Where a module could run what somebody else wrote."""
    where = path.relative_to(ROOT)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
            if names & PICKLES and (str(where), min(names & PICKLES)) not in ALLOWED:
                yield f"{where}:{node.lineno} imports {names & PICKLES}"
        elif isinstance(node, ast.Call) and (fault := _call(node)):
            yield f"{where}:{node.lineno} {fault}"


PICKLES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle", "joblib"}
ALLOWED = {("dsa_ray/engines/deepspeed_engine.py", "pickle")}
"""Of which it takes the name of an error only: the next test."""
BUILT_IN = {"eval", "exec", "compile", "__import__"}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader", "_Loader"}


def _call(node: ast.Call) -> str | None:
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in BUILT_IN or name in ("os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"):
        return f"calls {name}"
    if name == "torch.load" and given.get("weights_only") != "True":
        return "loads with torch what may be no tensors"
    if name == "yaml.load" and given.get("Loader") not in SAFE_LOADERS:
        return "loads YAML that may name Python objects"
    for key, harmless in (("shell", "False"), ("allow_pickle", "False"), ("trust_remote_code", "False")):
        if given.get(key, harmless) != harmless:
            return f"{name}({key}={given[key]})"
    return None


def test_deepspeeds_file_takes_nothing_of_pickle_but_the_name_of_its_error() -> None:
    tree = ast.parse((ROOT / "dsa_ray/engines/deepspeed_engine.py").read_text())
    used = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert {name for name in used if name.startswith("pickle.")} == {"pickle.UnpicklingError"}


def test_the_loaders_of_yaml_with_a_name_are_safe_ones() -> None:
    safe = yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    assert issubclass(plain_yaml._Loader, safe)
    assert issubclass(bounds._Loader, safe)


def test_whoever_starts_a_ray_here_starts_it_on_loopback() -> None:
    calls = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in ROOT.glob("dsa_ray/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ray.init" and "'local'" in ast.unparse(node)
    ]
    assert [call.partition(":")[0] for call in calls] == ["dsa_ray/actors/own_ray.py"]


def test_the_switch_to_loopback_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_HOST_IP", "192.0.2.7")
    before = dict(os.environ)
    with contextlib.suppress(ZeroDivisionError), on_loopback():
        assert os.environ.items() >= LOOPBACK.items()
        raise ZeroDivisionError
    assert dict(os.environ) == before


@pytest.mark.ring
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_ray_left")
def test_a_ray_of_our_own_listens_on_loopback_only() -> None:
    start_ray(1, include_dashboard=True, dashboard_host="127.0.0.1", configure_logging=False)

    @ray.remote(num_cpus=0)
    class Worker:
        def address(self) -> str:
            return ray.util.get_node_ip_address()

    worker = Worker.remote()
    assert ray.get(worker.address.remote()) == "127.0.0.1"
    assert len(listening()) > 5
    assert [each for each in listening() if not each[1]] == []


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.usefixtures("no_ray_left")
def test_a_whole_ring_listens_on_loopback_only(tmp_path: Path) -> None:
    found: list[tuple[str, bool]] = []

    def look(status: Mapping[str, Any]) -> None:
        if not found and status["step"] >= 150:
            found.extend(listening())

    drive(small(tmp_path, steps=200), look, student=True)
    assert len(found) > 10
    beyond = [title for title, ours in found if not ours]
    assert len(beyond) == 1, beyond
    assert RANK in beyond[0]


def listening() -> list[tuple[str, bool]]:
    """Every socket on which this process or one below it listens: its title, and whether it is on loopback."""
    found = []
    here = psutil.Process()
    for process in [here, *here.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN:
                    address = each.laddr.ip.removeprefix("::ffff:")
                    title = f"{' '.join(process.cmdline())[:80]} {each.laddr.ip}:{each.laddr.port}"
                    found.append((title, address.startswith("127.") or address == "::1"))
    return found


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize(
    ("command", "files"),
    [("generate", ("journal",)), ("run", ("config.json", "report.html", "summary.json"))],
    ids=["generate", "run"],
)
def test_a_key_of_the_environment_is_in_nothing_that_a_run_leaves(
    tmp_path: Path, command: str, files: tuple[str, ...], refused: bool
) -> None:
    with (
        serve(lambda number, body: _telling(number, body, refused)) as server,
        tempfile.TemporaryDirectory() as scratch,
    ):
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(_of_endpoint(tmp_path, server.url)))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DSA_TEST_KEY": KEY, "RAY_TMPDIR": scratch}
        call = [sys.executable, "-m", "dsa_ray.cli", command, str(config)]
        done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        logs = [path for path in Path(scratch).rglob("*") if path.is_file()]
        left = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
        assert (done.returncode == Exit.OK) is not refused, done.stdout + done.stderr
        assert server.keys.count(f"Bearer {KEY}") == len(server.keys) > 0
        assert KEY not in done.stdout + done.stderr
        assert len(logs) > 10
        assert len(left) > 3
        told = {path.relative_to(tmp_path / "runs" / "run").parts[0] for path in left}
        assert told >= {*files, *(("failure.json",) if refused and command == "run" else ())}
        assert [str(path) for path in (*left, *logs) if KEY.encode() in path.read_bytes()] == []


def _telling(number: int, body: dict[str, Any], refused: bool) -> Reply:
    """An endpoint that repeats the key whenever something is wrong."""
    if refused:
        return error(401, f"Incorrect API key provided: {KEY}")
    if number % 5 == 3:
        return error(400 if number % 10 == 3 else 500, f"the request of {KEY} failed")
    if "text" in body["response_format"]["json_schema"]["schema"]["properties"]:
        return completion(json.dumps({"text": f"Page {number}. One thing follows from another. " * 6}))
    sum_ = {"question": f"What is {number} + {number}?", "solution": "Add both.", "answer": str(2 * number)}
    return completion(json.dumps(sum_))


def _of_endpoint(folder: Path, url: str) -> dict[str, Any]:
    graph = folder / "skills.yaml"
    graph.write_text(
        yaml.safe_dump({"target": "Sums", "skills": [{"name": "Numbers"}, {"name": "Sums", "needs": ["Numbers"]}]})
    )
    return {
        "run": {"name": "run", "storage": str(folder / "runs")},
        "graph": {"target": "Sums", "file": str(graph)},
        "teacher": {"kind": "openai", "model": "served", "base_url": url, "api_key_env": "DSA_TEST_KEY"},
        "student": {"model": tiny_llama(folder / "student")},
        "generate": {"exercises_per_skill": 8, "replay": 0.0, "in_flight": 4, "slots": 16, "attempts": 2},
        "train": {"ranks": 1, "rows_per_step": 1, "slots": 4, "steps": 5, "precision": "fp32"},
        "evaluate": {"exam": _exam(folder)},
    }


def _exam(folder: Path) -> str:
    file = folder / "exam.jsonl"
    file.write_text(json.dumps({"skill": "sums", "question": "What is 900 + 1?", "answer": "901"}) + "\n")
    return str(file)


@pytest.mark.ring
@pytest.mark.slow
def test_a_cluster_with_a_token_answers_nobody_without_it(head: str, home: dict[str, str]) -> None:  # noqa: F811
    for path in ("api/jobs/", "api/v0/actors", "nodes?view=summary"):
        assert httpx.get(f"{head}/{path}", timeout=30.0).status_code == 401
        assert httpx.get(f"{head}/{path}", headers={"Authorization": f"Bearer {'0' * 64}"}).status_code == 403
    submitted = {"entrypoint": "true"}
    assert httpx.post(f"{head}/api/jobs/", json=submitted, timeout=30.0).status_code == 401
    joining = "import sys, ray; ray.init(address=sys.argv[1]); print('joined')"
    without = {**home, "RAY_AUTH_MODE": "disabled"}
    wrong = {**home, "RAY_AUTH_TOKEN": "0" * 64}
    told = [_python(joining, _gcs(), environment) for environment in (without, wrong, home)]
    assert ["joined" in each for each in told] == [False, False, True], told
    assert all("AuthenticationError" in each for each in told[:2]), told


def _gcs() -> str:
    """Address of the cluster that this process has started."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            for word in process.cmdline():
                if word.startswith("--gcs-address="):
                    return word.partition("=")[2]
    raise AssertionError("no raylet was started here")


def _python(code: str, argument: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr
