import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsa_ray.storage.checkpoints import CheckpointError, CheckpointStore, adopt_student, step_name
from dsa_ray.storage.filesystem import Folder


def stage(folder: Path, rank: int, loss: float | None, ranks: int, size: int = 100, phase: str = "exercises") -> str:
    """What one rank would have staged."""
    home = folder / f"staged-{rank}"
    (home / "shards").mkdir(parents=True, exist_ok=True)
    (home / "shards" / f"zero-{rank}.pt").write_bytes(os.urandom(size))
    if rank == 0:
        (home / "meta.json").write_text(json.dumps({"loss": loss, "ranks": ranks, "phase": phase}))
    return str(home)


def save(
    store: CheckpointStore,
    folder: Path,
    step: int,
    loss: float | None = 1.0,
    ranks: int = 2,
    phase: str = "exercises",
) -> str:
    name = step_name(step)
    for rank in range(ranks):
        store.write_part(name, rank, stage(folder, rank, loss, ranks, phase=phase))
    store.commit(name, ranks)
    return name


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(str(tmp_path / "checkpoints"))


def test_a_checkpoint_counts_when_every_part_is_there(store: CheckpointStore, tmp_path: Path) -> None:
    name = step_name(5)
    store.write_part(name, 0, stage(tmp_path, 0, 1.0, 2))
    with pytest.raises(CheckpointError, match=r"not complete: the parts of ranks \[1\] are missing"):
        store.commit(name, 2)
    assert store.latest() is None
    store.write_part(name, 1, stage(tmp_path, 1, None, 2))
    store.commit(name, 2)
    assert store.latest() == name
    store.verify(name)
    assert Path(store.fetch(name, str(tmp_path / "copy")), "shards", "zero-1.pt").is_file()


def test_a_checkpoint_in_memory_file_system_is_fetched_as_files(tmp_path: Path) -> None:
    store = CheckpointStore("memory://run/checkpoints")
    name = save(store, tmp_path, 7)
    store.verify(name, 1)
    copy = Path(store.fetch(name, str(tmp_path / "copy"), "shards/"))
    assert sorted(path.name for path in copy.rglob("*.pt")) == ["zero-0.pt", "zero-1.pt"]
    assert not (copy / "meta.json").exists()
    store.discard_unfinished()
    assert store.names() == [name]


def test_the_best_one_is_of_the_last_phase_however_low_the_losses_of_the_first_were(
    store: CheckpointStore, tmp_path: Path
) -> None:
    save(store, tmp_path, 1, 0.1, phase="textbooks")
    assert store.best() == step_name(1)
    for step, loss in ((2, 2.0), (3, 1.0), (4, 1.5), (5, None)):
        save(store, tmp_path, step, loss)
    assert store.best() == step_name(3)


def test_the_last_ones_and_the_best_are_kept(store: CheckpointStore, tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 0.5), (3, 2.0), (4, 1.0), (5, float("nan"))):
        save(store, tmp_path, step, loss)
    assert store.best() == step_name(2)
    assert store.prune(2, keep_best=True) == [step_name(1), step_name(3)]
    assert store.prune(1, keep_best=False) == [step_name(2), step_name(4)]
    assert store.names() == [store.latest()] == [step_name(5)]
    assert store.best() is None


def test_what_was_cut_short_is_cleared_away(store: CheckpointStore, tmp_path: Path) -> None:
    save(store, tmp_path, 10)
    store.write_part(step_name(20), 0, stage(tmp_path, 0, 1.0, 2))
    assert store.discard_unfinished() == [step_name(20)]
    assert store.latest() == step_name(10)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda home: (home / "shards/zero-1.pt").write_bytes(b"x" * 100), r"shards/zero-1\.pt is damaged"),
        (lambda home: (home / "shards/zero-1.pt").write_bytes(b"x"), r"zero-1\.pt has 1 bytes, not 100"),
        (lambda home: (home / "shards/zero-0.pt").unlink(), r"zero-0\.pt is missing"),
        (lambda home: (home / "part-1.json").write_text("{"), r"parts of ranks \[1\] are missing"),
        (lambda home: (home / "meta.json").unlink(), r"meta\.json is missing or broken"),
        (lambda home: (home / "meta.json").write_text("]"), r"meta\.json is missing or broken"),
        (lambda home: (home / "meta.json").write_text("[2]"), r"meta\.json is missing or broken"),
        (lambda home: (home / "meta.json").write_text('{"step": 1}'), r"meta\.json is missing or broken"),
    ],
)
def test_damage_is_named_in_one_line_with_a_way_out(store: CheckpointStore, tmp_path: Path, harm, words: str) -> None:
    save(store, tmp_path, 1)
    name = save(store, tmp_path, 2)
    harm(tmp_path / "checkpoints" / name)
    with pytest.raises(CheckpointError, match=words) as refusal:
        store.verify(name)
    assert "\n" not in str(refusal.value)
    assert f"write {step_name(1)} into" in str(refusal.value)


def test_a_pointer_to_nothing_is_an_error_not_a_new_beginning(store: CheckpointStore, tmp_path: Path) -> None:
    save(store, tmp_path, 1)
    (tmp_path / "checkpoints" / "latest").write_text(step_name(9))
    with pytest.raises(CheckpointError, match="names step-00000009, which is not there"):
        store.latest()
    (tmp_path / "checkpoints" / "latest").write_text("../../etc")
    with pytest.raises(CheckpointError, match="names no checkpoint"):
        store.latest()


@pytest.mark.parametrize("file", ["../planted", "student/../../../planted", "/planted", ""])
def test_a_list_of_files_that_leads_out_of_its_checkpoint_counts_as_missing(tmp_path: Path, file: str) -> None:
    store = CheckpointStore(f"memory://{tmp_path.name}/checkpoints")
    name = save(store, tmp_path, 1)
    place = Folder(f"{store.url}/{name}")
    place.write("../planted", b"x")
    told = json.loads(place.read("part-0.json"))
    place.write("part-0.json", json.dumps(told | {"files": {file: {"size": 1, "crc32": 0}, **told["files"]}}).encode())
    with pytest.raises(CheckpointError, match=r"the parts of ranks \[0\] are missing"):
        store.verify(name)
    store.fetch(name, str(tmp_path / "deep" / "copy"))
    assert not list(tmp_path.rglob("planted"))
    assert adopt_student(store.url.removesuffix("/checkpoints")) == name
    assert not Folder(f"{store.url}/..").exists("planted")


def test_a_storage_that_fills_up_leaves_the_last_good_one(store: CheckpointStore, tmp_path: Path) -> None:
    good = save(store, tmp_path, 1)
    written: list[str] = []

    def full(name: str, fill) -> None:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store._folder.write_with(name, fill)
        written.append(name)

    with pytest.raises(CheckpointError, match=rf"No space left on device.*{good} stays the latest.*free some space"):
        store.write_part(step_name(2), 0, stage(tmp_path, 0, 1.0, 2), write=full)
    assert written
    assert not (tmp_path / "checkpoints" / written[0]).exists()
    assert store.latest() == good
    store.verify(good)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip("this user may not mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    store = CheckpointStore(str(small_disk / "checkpoints"))
    good = save(store, tmp_path, 1, ranks=1)
    with pytest.raises(CheckpointError, match=r"No space left on device.*stays the latest"):
        store.write_part(step_name(2), 0, stage(tmp_path, 0, 1.0, 1, size=400_000))
    assert store.latest() == good
    store.verify(good)
    assert save(store, tmp_path, 3, ranks=1) == store.latest()  # the room was given back


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["whole", "cut", "damaged list"]), max_size=8), st.integers(1, 3))
def test_latest_is_the_newest_whole_one_whatever_happened(tmp_path_factory, fates: list[str], keep: int) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = CheckpointStore(str(folder / "checkpoints"))
    whole = [step for step, fate in enumerate(fates, 1) if fate == "whole"]
    for step, fate in enumerate(fates, 1):
        if fate == "whole":
            save(store, folder, step, ranks=1)
            store.prune(keep, keep_best=False)
        else:
            store.write_part(step_name(step), 0, stage(folder, 0, 1.0, 1))
            if fate == "damaged list":
                (folder / "checkpoints" / step_name(step) / "part-0.json").write_text("")
    store.discard_unfinished()
    assert store.latest() == (step_name(whole[-1]) if whole else None)
    if whole:
        store.verify(store.latest())
    assert len(store.names()) <= keep + len(fates) - len(whole)


def test_a_run_that_ended_early_gets_the_student_of_its_latest_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path / "checkpoints"))
    assert adopt_student(str(tmp_path)) is None
    home = stage(tmp_path, 0, 1.0, 1)
    os.mkdir(f"{home}/student")
    Path(home, "student", "config.json").write_text("{}")
    store.write_part(step_name(3), 0, home)
    store.commit(step_name(3), 1)
    assert adopt_student(str(tmp_path)) == step_name(3)
    assert (tmp_path / "student" / "config.json").read_text() == "{}"
    assert adopt_student(str(tmp_path)) is None  # what is there stays
