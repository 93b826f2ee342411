"""A run on an object store: a local server that speaks S3, and the same classes as on a disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsa_ray.config import Config, parse
from dsa_ray.report.logs import listing, processes
from dsa_ray.report.status import status_lines
from dsa_ray.storage.checkpoints import CheckpointError, CheckpointStore, step_name
from dsa_ray.storage.filesystem import Folder, local_copy
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder, RunFolderError
from tests.storage.s3_server import bucket_of
from tests.storage.test_checkpoints import save, stage


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with bucket_of("runs") as uri:
        yield uri


def config(name: str, storage: str) -> Config:
    return parse({"run": {"name": name, "storage": storage}, "graph": {"target": "calculus"}})


def test_a_run_is_made_opened_refused_and_resumed(bucket: str) -> None:
    wanted = config("first", bucket)
    with RunFolder.create(bucket, wanted) as run:
        run.write_text("graph.json", "{}")
        run.append_metrics([{"step": 1, "loss": float("nan")}])
    again = RunFolder.open(f"{bucket}/first")
    assert again.config == wanted
    assert again.read_metrics() == [{"step": 1, "loss": None}]
    with pytest.raises(RunFolderError, match="exists already"):
        RunFolder.create(bucket, wanted)
    with RunFolder.create(bucket, wanted, resume=True) as resumed:
        resumed.append_metrics([{"step": 2, "loss": 1.0}])
    assert [row["step"] for row in RunFolder.open(f"{bucket}/first").read_metrics()] == [1, 2]


def test_the_server_leaves_nothing_in_this_process(bucket: str) -> None:
    assert "flask" not in sys.modules, "vLLM's engine does not start in a process that has Flask's proxies"


def test_a_missing_run_is_one_line(bucket: str) -> None:
    with pytest.raises(RunFolderError, match="there is no run here"):
        RunFolder.open(f"{bucket}/none")


def test_the_journal_comes_back_in_order_and_a_second_writer_goes_on_behind_the_first(bucket: str) -> None:
    journal = f"{bucket}/journal-test"
    first = SegmentWriter(journal, "events")
    for number in range(3):
        first.write([{"n": number, "text": "ä" * 100}])
    SegmentWriter(journal, "events").write([{"n": 3}])
    rows = [row["n"] for _, found in iter_segments(journal, "events") for row in found]
    assert rows == [0, 1, 2, 3]


def test_a_segment_that_is_taken_is_never_overwritten(bucket: str) -> None:
    folder = Folder(f"{bucket}/exclusive")
    folder.write("a", b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        folder.write("a", b"second", exclusive=True)
    assert folder.read("a") == b"first"


def test_a_file_that_another_process_wrote_is_seen(bucket: str) -> None:
    folder = Folder(f"{bucket}/seen")
    assert folder.names() == []
    code = f"from dsa_ray.storage.filesystem import Folder; Folder('{bucket}/seen').write('x', b'1')"
    subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=True)
    assert folder.exists("x")
    assert folder.names() == ["x"]


def test_a_folder_is_written_and_read_by_path(bucket: str, tmp_path: Path) -> None:
    for place in (f"{bucket}/drafts", str(tmp_path)):
        folder = Folder(place)
        with folder.draft("model") as path:
            Path(path, "layers").mkdir(parents=True)
            Path(path, "weights").write_bytes(b"1")
            Path(path, "layers", "first").write_bytes(b"2")
        assert Folder(f"{place}/model").files() == ["layers/first", "weights"]
        with local_copy(f"{folder.url}/model") as copy:
            found = {path.name: path.read_bytes() for path in Path(copy).rglob("*") if path.is_file()}
            assert found == {"weights": b"1", "first": b"2"}
    with pytest.raises(FileNotFoundError), local_copy(f"{bucket}/none"):
        pass


def test_a_draft_that_fails_leaves_nothing(bucket: str) -> None:
    folder = Folder(f"{bucket}/failed")

    def write_half() -> None:
        with folder.draft("model") as path:
            Path(path, "weights").write_bytes(b"1")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert folder.files() == []


def test_status_and_logs_work_from_the_uri_alone(bucket: str) -> None:
    with RunFolder.create(bucket, config("seen-from-afar", bucket)) as run:
        assert status_lines(run)[0].endswith("not started yet")
        run.write_text("failure.json", json.dumps({"reason": "the trainer failed: NaN", "time": time.time()}))
    afar = RunFolder.open(f"{bucket}/seen-from-afar")
    assert status_lines(afar)[0].endswith("failed: the trainer failed: NaN")
    assert listing(processes(afar.folder)) == ["no process has been noted yet"]


def test_a_checkpoint_counts_when_whole_and_comes_back_as_it_was(bucket: str, tmp_path: Path) -> None:
    store = CheckpointStore(f"{bucket}/with-checkpoints/checkpoints")
    for step in (5, 10, 15):
        save(store, tmp_path, step)
    assert store.latest() == step_name(15)
    store.write_part(step_name(20), 0, stage(tmp_path, 0, 1.0, 2))
    with pytest.raises(CheckpointError, match=r"ranks \[1\] are missing"):
        store.commit(step_name(20), 2)
    assert store.discard_unfinished() == [step_name(20)]
    store.prune(2, keep_best=False)
    assert store.names() == [step_name(10), step_name(15)]
    store.verify(step_name(15))
    copy = Path(store.fetch(step_name(15), str(tmp_path / "copy")))
    written = (tmp_path / "staged-1" / "shards" / "zero-1.pt").read_bytes()
    assert (copy / "shards" / "zero-1.pt").read_bytes() == written


def test_a_damaged_shard_is_found_by_its_checksum(bucket: str, tmp_path: Path) -> None:
    store = CheckpointStore(f"{bucket}/damaged/checkpoints")
    name = save(store, tmp_path, 5)
    Folder(f"{bucket}/damaged/checkpoints/{name}/shards").write("zero-0.pt", b"\0" * 100)
    with pytest.raises(CheckpointError):
        store.verify(name)
