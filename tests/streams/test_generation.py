import functools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray

from dsa_ray.actors.recorder_actor import GenerationFault, RecorderActor
from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.texts import STREAM
from dsa_ray.streams.generation import StreamPlan
from tests.engines.scripted import config
from tests.streams.scripted_ring import Curator, broken_examiner, examiner, noting_examiner

pytestmark = pytest.mark.ring
CPUS = 2


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


def ring(
    folder: Path, total: int, plan: StreamPlan, make: Callable = examiner
) -> tuple[ray.actor.ActorHandle, list, ray.actor.ActorHandle]:
    """Curator, replicas and recorder on a part of 2 CPUs."""
    mark = uuid.uuid4().hex[:8]
    names = [f"teacher-{n}-{mark}" for n in range(2)]
    curator = ray.remote(Curator).options(name=f"curator-{mark}", num_cpus=0.1).remote(total)
    settings = config(generate={"in_flight": 32, "slots": 128})
    replicas = [
        ReplicaActor.options(name=name, num_cpus=0.2, max_restarts=-1).remote(
            f"teacher-{n}", settings, "scripted", f"curator-{mark}", str(folder)
        )
        for n, name in enumerate(names)
    ]
    recorder = RecorderActor.options(num_cpus=0.1, max_concurrency=4).remote(
        str(folder), f"curator-{mark}", names, make, plan, 60.0
    )
    return curator, replicas, recorder


def wait_for(curator: ray.actor.ActorHandle, accepted: int) -> None:
    deadline = time.monotonic() + 60
    while len(ray.get(curator.account.remote())["accepted"]) < accepted:
        assert time.monotonic() < deadline, "nothing flows"
        time.sleep(0.02)


def reader() -> psutil.Process:
    """A process that runs a read task of this cluster."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ReadOutboxes" in " ".join(process.cmdline()):
                    return process
        time.sleep(0.05)
    raise AssertionError("no read task runs")


def recorded(folder: Path) -> list[int]:
    return [row["id"] for _, rows in iter_segments(str(folder), STREAM) for row in rows]


def test_no_assignment_is_lost_or_doubled_though_a_replica_dies_half_way(tmp_path: Path):
    total = 500
    curator, replicas, recorder = ring(tmp_path, total, StreamPlan(patience_s=60.0))
    run = recorder.run.remote()
    wait_for(curator, total // 4)
    ray.kill(replicas[0], no_restart=False)
    ray.get(run, timeout=90)
    account = ray.get(curator.account.remote())
    assert account["accepted"] == dict.fromkeys(range(total), 1)
    assert account["incarnations"] == {"teacher-0": 2, "teacher-1": 1}
    assert account["rejected"] == []
    assert sorted(recorded(tmp_path)) == list(range(total))
    assert ray.get(recorder.stats.remote())["written"] == total


def test_the_stream_is_opened_anew_again_and_again_and_after_a_readers_death_without_loss(tmp_path: Path):
    total = 1500
    noting = functools.partial(noting_examiner, tmp_path)
    curator, _replicas, recorder = ring(tmp_path, total, StreamPlan(reopen_s=6.0), noting)
    run = recorder.run.remote()
    wait_for(curator, 100)
    reader().kill()
    ray.get(run, timeout=120)
    assert ray.get(curator.account.remote())["accepted"] == dict.fromkeys(range(total), 1)
    assert sorted(recorded(tmp_path)) == list(range(total))
    hashes = [row["content_hash"] for _, rows in iter_segments(str(tmp_path), STREAM) for row in rows]
    first, *following = [json.loads(line) for line in (tmp_path / "known.jsonl").read_text().splitlines()]
    assert first == []
    assert following
    for known in following:  # all that was written when the stream was opened, in order
        assert known == sorted(set(hashes[: len(known)]))


def test_an_examiner_that_raises_ends_the_stream_with_its_own_words(tmp_path: Path):
    held = ring(tmp_path, 10, StreamPlan(), broken_examiner)
    with pytest.raises(GenerationFault, match="ValueError: this is no completion"):
        ray.get(held[-1].run.remote(), timeout=90)
