"""A real Prometheus, a real Ray cluster, and every query of the dashboard asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from dsa_ray.actors.metrics import MetricsPublisher
from dsa_ray.report.dashboard import queries
from dsa_ray.report.metrics import Sample, samples
from tests.report.test_metrics import REPLICA, STATUS
from tests.test_job_cluster import free_port, wait_for_port

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
ALERTS = Path(__file__).parents[2] / "cluster" / "alerts.yaml"
OURS = [query for query in queries() if "ray_vllm" not in query]
RULES = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
RUNNING = {**STATUS, "train": {**STATUS["train"], "mfu": 0.4}}
WITHIN_S = 90.0


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)")
def test_promtool_finds_no_fault_with_the_alert_rules() -> None:
    done = subprocess.run([PROMTOOL, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)")
def test_promql_answers_every_query_over_the_series_of_a_run_and_only_the_stall_raises_its_alert(
    tmp_path: Path,
) -> None:
    stalled = samples({**RUNNING, "no_progress_s": 170.0}, [REPLICA], 0.0)
    at = {"eval_time": "10m"}
    tests = {
        "interval": "15s",
        "input_series": [{"series": series(sample), "values": f"{sample.value}+0x40"} for sample in stalled],
        "promql_expr_test": [{"expr": query.replace("$run", "probe"), **at, "exp_samples": []} for query in OURS],
        "alert_rule_test": [{"alertname": rule, **at, "exp_alerts": []} for rule in RULES],
    }
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [tests]}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    told = (done.stdout + done.stderr).replace('\\"', '"')  # it expects nothing, and so lists whatever has an answer
    assert [test["expr"] for test in tests["promql_expr_test"] if f'expr: "{test["expr"]}"' not in told] == []
    # The heartbeat of these series is that of 1970.
    assert {rule for rule in RULES if f"alertname: {rule}," in told} == {"RunNearsItsStallLimit", "DriverSilent"}


def series(sample: Sample) -> str:
    """As Ray exports it."""
    labels = ",".join(f'{name}="{value}"' for name, value in (("run", "probe"), ("WorkerId", "w"), *sample.labels))
    return f"ray_{sample.name}{{{labels}}}"


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster on this machine; yields where its metrics are to be had."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    port = free_port()
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        configure_logging=False,
        _metrics_export_port=port,
    )
    yield f"{ray.util.get_node_ip_address()}:{port}"
    ray.shutdown()


@pytest.fixture
def prometheus(target: str, tmp_path: Path) -> Iterator[str]:
    """A server that scrapes it every second; yields its address."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": [target]}]}],
        "rule_files": [str(ALERTS)],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    server = subprocess.Popen(
        [
            str(PROMETHEUS),
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (apt-get install prometheus)")
def test_prometheus_answers_every_query_of_the_dashboard_and_a_stall_raises_its_alert(prometheus: str) -> None:
    publisher = MetricsPublisher("probe")
    unanswered, deadline = set(OURS), time.monotonic() + WITHIN_S
    while unanswered and time.monotonic() < deadline:
        publisher.publish(samples({**RUNNING, "no_progress_s": 170.0}, [REPLICA], time.time()))
        time.sleep(1.0)
        unanswered = {query for query in unanswered if not answer(prometheus, query)}
    assert unanswered == set()
    assert [float(row["value"][1]) for row in answer(prometheus, 'ray_dsa_train_loss{run="probe"}')] == [1.25]
    assert alerts(prometheus) >= {"RunNearsItsStallLimit"}
    for query in set(queries()) - set(OURS):  # no vLLM here: valid, and empty
        assert answer(prometheus, query) == []


def answer(server: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus says to an instant query; raises on one that it does not understand."""
    given = ask(server, f"query?{urllib.parse.urlencode({'query': query.replace('$run', 'probe')})}")
    assert given["status"] == "success", given
    return given["data"]["result"]


def alerts(server: str) -> set[str]:
    """Alerts that are pending or firing; raises if a rule cannot be evaluated."""
    groups = ask(server, "rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    return {rule["name"] for rule in rules if rule["state"] in ("pending", "firing")}


def ask(server: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server}/api/v1/{path}", timeout=10) as reply:
        return json.load(reply)
