import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder, RunFolderError


def a_config(name: str = "one", **sections: dict) -> Config:
    return parse({"run": {"name": name}, "graph": {"target": "Calculus"}, **sections})


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_a_new_run_has_its_configuration_and_its_places(tmp_path: Path) -> None:
    config = a_config(train={"steps": 7})

    with RunFolder.create(str(tmp_path), config) as run:
        assert run.path == str(tmp_path / "one")
        assert (run.journal, run.checkpoints, run.student) == (
            f"{run.path}/journal",
            f"{run.path}/checkpoints",
            f"{run.path}/student",
        )
        assert all(Path(place).is_dir() for place in (run.journal, run.checkpoints, run.student))

    assert RunFolder.open(run.path).config == config


def test_an_existing_run_is_refused_unless_resumed(tmp_path: Path) -> None:
    RunFolder.create(str(tmp_path), a_config()).close()

    with pytest.raises(ConfigError, match="exists already; use --resume") as refusal:
        RunFolder.create(str(tmp_path), a_config())
    one_line(refusal.value)

    RunFolder.create(str(tmp_path), a_config(), resume=True).close()


def test_resume_without_a_run_starts_one(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config(), resume=True) as run:
        assert run.exists("config.json")


def test_resume_takes_over_what_may_change(tmp_path: Path) -> None:
    RunFolder.create(str(tmp_path), a_config(train={"steps": 5})).close()

    with RunFolder.create(str(tmp_path), a_config(train={"steps": 9}), resume=True) as run:
        assert RunFolder.open(run.path).config.train.steps == 9


def test_resume_with_another_student_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    RunFolder.create(str(tmp_path), a_config()).close()

    with pytest.raises(ConfigError, match=r"^student\.model: was 'embedded:student'"):
        RunFolder.create(str(tmp_path), a_config(student={"model": "other"}), resume=True)

    with RunFolder.create(str(tmp_path), a_config(), resume=True) as run:
        assert run.config == RunFolder.open(run.path).config == a_config()


def test_a_run_of_an_earlier_version_that_gave_answers_more_time_is_read_and_resumed(tmp_path: Path) -> None:
    RunFolder.create(str(tmp_path), a_config()).close()
    path = tmp_path / "one" / "config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"evaluate": stored["evaluate"] | {"answer_timeout_s": 3.0}}))
    assert RunFolder.open(str(tmp_path / "one")).config.evaluate.answer_timeout_s == 2.0
    RunFolder.create(str(tmp_path), a_config(), resume=True).close()


def test_two_live_runs_on_one_folder_are_refused(tmp_path: Path) -> None:
    run = RunFolder.create(str(tmp_path), a_config())

    with pytest.raises(RunFolderError, match=rf"held by a live run \(pid {os.getpid()} on ") as refusal:
        RunFolder.create(str(tmp_path), a_config(), resume=True)
    one_line(refusal.value)

    run.close()
    run.close()
    RunFolder.create(str(tmp_path), a_config(), resume=True).close()


def test_a_killed_run_leaves_no_stale_lock(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from dsa_ray.config import parse\n"
        "from dsa_ray.storage.run_folder import RunFolder\n"
        "run = RunFolder.create(sys.argv[1], parse({'run': {'name': 'one'}, 'graph': {'target': 'Calculus'}}))\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    with pytest.raises(RunFolderError, match=f"pid {child.pid} "):
        RunFolder.create(str(tmp_path), a_config(), resume=True)

    child.kill()
    child.communicate()

    RunFolder.create(str(tmp_path), a_config(), resume=True).close()


def test_of_many_runs_started_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    got, refused = [], []

    def start() -> None:
        try:
            got.append(RunFolder.create(str(tmp_path), a_config()))
        except RunFolderError:
            refused.append(1)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(got), len(refused)) == (1, 7)
    got[0].close()


def test_reading_needs_no_lock_and_a_copy_in_another_process_reads(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        copy = pickle.loads(pickle.dumps(run))
        assert (copy.path, copy.config) == (run.path, run.config)


def broken(run: Path, damage: str) -> None:
    match damage:
        case "no config.json":
            (run / "config.json").unlink()
            (run / "metrics.jsonl").write_text("{}\n")
        case "broken JSON":
            (run / "config.json").write_text('{"run": ')
        case "not an object":
            (run / "config.json").write_text("[]")
        case "unknown key":
            data = json.loads((run / "config.json").read_text())
            (run / "config.json").write_text(json.dumps({**data, "colour": 1}))
        case "no journal":
            (run / "journal" / "format.json").unlink()
            (run / "journal").rmdir()
        case "broken format":
            (run / "journal" / "format.json").write_text("{")
        case "another format":
            (run / "journal" / "format.json").write_text('{"format": 2}')


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no config.json", "no config.json"),
        ("broken JSON", r"config\.json: broken"),
        ("not an object", r"config\.json: broken"),
        ("unknown key", r"config\.json: broken .*colour"),
        ("no journal", "its journal is missing"),
        ("broken format", r"format\.json: broken"),
        ("another format", "format 2; this version reads 1"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_a_broken_run_folder_is_refused_with_what_is_wrong(
    tmp_path: Path, damage: str, says: str, resume: bool
) -> None:
    RunFolder.create(str(tmp_path), a_config()).close()
    broken(tmp_path / "one", damage)

    def take_up() -> RunFolder:
        if resume:
            return RunFolder.create(str(tmp_path), a_config(), resume=True)
        return RunFolder.open(str(tmp_path / "one"))

    with pytest.raises(ConfigError, match=says) as refusal:
        take_up()

    assert str(tmp_path / "one") in one_line(refusal.value)


def test_a_folder_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no run here"):
        RunFolder.open(str(tmp_path / "nothing"))


def test_a_folder_with_other_things_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "thesis.tex").write_text("years of work")

    for resume in (False, True):
        with pytest.raises(RunFolderError, match="exists and is not a run"):
            RunFolder.create(str(tmp_path), a_config(), resume=resume)

    assert os.listdir(tmp_path / "one") == ["thesis.tex"]


def test_a_file_in_the_way_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")

    with pytest.raises(RunFolderError, match="cannot be made") as refusal:
        RunFolder.create(str(tmp_path / "runs"), a_config())
    one_line(refusal.value)


def test_a_folder_that_cannot_be_locked_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "one" / "lock").mkdir(parents=True)

    with pytest.raises(RunFolderError, match="cannot be locked") as refusal:
        RunFolder.create(str(tmp_path), a_config())
    one_line(refusal.value)


@pytest.mark.parametrize("keep", [{"lock"}, {"lock", "journal"}, {"lock", "journal", "config.json.1-1.tmp"}])
def test_a_creation_that_was_cut_short_can_be_begun_again(tmp_path: Path, keep: set[str]) -> None:
    RunFolder.create(str(tmp_path), a_config()).close()
    run = tmp_path / "one"
    (run / "config.json").rename(run / "config.json.1-1.tmp")
    for path in run.iterdir():
        if path.name not in keep and path.is_dir():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        elif path.name not in keep:
            path.unlink()

    RunFolder.create(str(tmp_path), a_config()).close()

    assert RunFolder.open(str(run)).config == a_config()


def test_a_folder_with_a_journal_but_no_configuration_is_not_begun_again(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        SegmentWriter(run.journal, "written").write([{"id": 1}])
    (tmp_path / "one" / "config.json").unlink()

    with pytest.raises(RunFolderError, match="is not a run"):
        RunFolder.create(str(tmp_path), a_config(), resume=True)


def test_text_is_replaced_whole(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        run.write_text("graph.json", "old")
        run.write_text("graph.json", "neu é")
        run.write_text("checkpoints/latest", "step-4")

        assert run.read_text("graph.json") == "neu é"
        assert run.exists("checkpoints/latest")
        assert not run.exists("summary.json")
        with pytest.raises(RunFolderError, match=r"has no summary\.json"):
            run.read_text("summary.json")
        assert not [name for name in os.listdir(run.path) if name.endswith(".tmp")]


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "."])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run, pytest.raises(ValueError, match="not a name inside"):
        run.write_text(name, "x")


def test_metrics_are_lines_and_nan_is_null(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        run.append_metrics([{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}])
        run.append_metrics([{"step": 3, "losses": [float("inf"), {"a": 1.0}]}])

        assert run.read_metrics() == [
            {"step": 1, "loss": 0.5},
            {"step": 2, "loss": None},
            {"step": 3, "losses": [None, {"a": 1.0}]},
        ]


def test_a_line_of_metrics_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        run.append_metrics([{"step": 1}])
        with open(f"{run.path}/metrics.jsonl", "a") as file:
            file.write('{"step": 2, "lo')
        run.append_metrics([{"step": 3}])

        assert run.read_metrics() == [{"step": 1}, {"step": 3}]


def test_a_run_folder_needs_no_local_disk() -> None:
    storage = "memory://test_run_folder/runs"
    run = RunFolder.create(storage, a_config())
    SegmentWriter(run.journal, "written").write([{"id": 1}])
    run.write_text("graph.json", "{}")
    for step in range(3):
        run.append_metrics([{"step": step}])
    run.close()

    with pytest.raises(RunFolderError, match="exists already"):
        RunFolder.create(storage, a_config())
    with pytest.raises(ConfigError, match=r"run\.seed"):
        RunFolder.create(
            storage, parse({"run": {"name": "one", "seed": 1}, "graph": {"target": "Calculus"}}), resume=True
        )
    again = RunFolder.create(storage, a_config(), resume=True)
    again.append_metrics([{"step": 3}])
    again.close()

    found = RunFolder.open(run.path)
    assert found.path == run.path
    assert found.path.startswith("memory://")
    assert found.config == a_config()
    assert found.read_text("graph.json") == "{}"
    assert [row["step"] for row in found.read_metrics()] == [0, 1, 2, 3]
    assert list(iter_segments(found.journal, "written")) == [(0, [{"id": 1}])]
    with pytest.raises(RunFolderError, match="there is no run here"):
        RunFolder.open("memory://test_run_folder/runs/other")


def test_a_creation_that_was_taken_back_leaves_no_run_even_if_processes_wrote_logs(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        (Path(run.path) / "logs").mkdir()
        (Path(run.path) / "logs" / "driver.log").write_text("why\n")
        run.discard()
    with RunFolder.create(str(tmp_path), a_config()) as again:
        assert again.exists("config.json")


def test_a_run_that_was_resumed_is_not_taken_back(tmp_path: Path) -> None:
    with RunFolder.create(str(tmp_path), a_config()) as run:
        SegmentWriter(run.journal, "written").write([{"id": 1}])
    with RunFolder.create(str(tmp_path), a_config(), resume=True) as again:
        again.discard()
    assert RunFolder.open(run.path).config == a_config()
