from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from dsa_ray import cli
from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.exits import Exit
from dsa_ray.report import summary
from dsa_ray.storage.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
QUICKSTART = str(ROOT / "configs" / "quickstart.yaml")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the ring: records how it was called, and does what `act` says."""
    fake = SimpleNamespace(calls=[], act=lambda config: 0)

    def run(config: Config, resume: bool, live: bool, allow_changes: bool) -> int:
        fake.calls.append((config, resume, live))
        fake.allow_changes = allow_changes
        return fake.act(config)

    fake.run = run
    monkeypatch.setitem(sys.modules, "dsa_ray.pipeline", fake)
    monkeypatch.setattr("dsa_ray.preflight.check_engines", lambda config: None)
    return fake


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"run.storage={tmp_path}"


def make_run(tmp_path: Path, name: str = "old") -> RunFolder:
    config = parse({"run": {"name": name, "storage": str(tmp_path)}, "graph": {"target": "calculus"}})
    with RunFolder.create(str(tmp_path), config) as run:
        return run


def config_of(run: RunFolder, folder: Path) -> str:
    """A configuration file that says what the run was started with."""
    path = folder / "same.yaml"
    path.write_text(yaml.safe_dump(run.config.model_dump(mode="json")))
    return str(path)


def raising(error: BaseException) -> Callable[[Any], int]:
    def act(_: Any) -> int:
        raise error

    return act


def test_run_passes_the_resolved_configuration_on(pipeline: SimpleNamespace, storage: str) -> None:
    assert cli.main(["run", QUICKSTART, storage, "train.steps=3"]) == 0
    config, resume, live = pipeline.calls[0]
    assert (config.train.steps, resume, live) == (3, False, False)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_pipelines_exit_code_is_the_commands(code: int, pipeline: SimpleNamespace, storage: str) -> None:
    pipeline.act = lambda config: code
    assert cli.main(["run", QUICKSTART, storage]) == code


def test_overrides_may_stand_behind_options(pipeline: SimpleNamespace, storage: str, tmp_path: Path) -> None:
    make_run(tmp_path)
    assert cli.main(["run", QUICKSTART, "--resume", storage, "run.name=old"]) == 0
    config, resume, _ = pipeline.calls[0]
    assert (config.run.name, resume) == ("old", True)
    assert not pipeline.allow_changes
    assert cli.main(["run", QUICKSTART, "--resume", "--allow-changes", storage, "run.name=old"]) == 0
    assert pipeline.allow_changes


def test_changes_can_only_be_allowed_for_a_resumed_run(pipeline, capsys) -> None:
    assert cli.main(["run", QUICKSTART, "--allow-changes"]) == Exit.USAGE
    assert "give --resume too" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["run", QUICKSTART, "--fast"], ["status", "x", "y=1"], [], ["fly"], ["explain", "x", "y"]]
)
def test_strange_arguments_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == Exit.USAGE
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.step=3", "did you mean"),
        ("train.ranks=100", "train.ranks: 100 of rank"),
        ("cluster.rank_gpus=1", "GPUs asked"),
        ("student.model=./no-such-folder", "student.model: there is no folder"),
        ("train.slots=1", "train.slots: 1 rows cannot feed"),
        ("nonsense", "section.key=value"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    override: str, words: str, pipeline: SimpleNamespace, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", QUICKSTART, storage, override]) == Exit.USAGE
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert pipeline.calls == []


def test_a_configuration_error_of_a_running_pipeline_is_one_line_too(
    pipeline: SimpleNamespace, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.act = raising(ConfigError("cluster.address: nobody there"))
    assert cli.main(["run", QUICKSTART, storage]) == Exit.USAGE
    assert capsys.readouterr().err == "dsa: cluster.address: nobody there\n"


def test_an_interrupt_is_exit_code_130(pipeline: SimpleNamespace, storage: str) -> None:
    pipeline.act = raising(KeyboardInterrupt())
    assert cli.main(["run", QUICKSTART, storage]) == Exit.INTERRUPTED


def test_a_fault_keeps_its_traceback(pipeline: SimpleNamespace, storage: str) -> None:
    pipeline.act = raising(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["run", QUICKSTART, storage])


def test_a_run_of_the_same_name_is_refused_with_both_ways_out(
    pipeline: SimpleNamespace, storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path)
    assert cli.main(["run", QUICKSTART, storage, "run.name=old"]) == Exit.USAGE
    error = capsys.readouterr().err
    assert "--resume" in error
    assert "run.name=old-2" in error
    assert pipeline.calls == []


def test_auto_resume_starts_what_is_not_there_and_goes_on_with_what_is(
    pipeline: SimpleNamespace, storage: str, tmp_path: Path
) -> None:
    assert cli.main(["run", QUICKSTART, storage, "run.name=new", "--auto-resume"]) == 0
    make_run(tmp_path)
    assert cli.main(["run", QUICKSTART, storage, "run.name=old", "--auto-resume"]) == 0
    assert [resume for _, resume, _ in pipeline.calls] == [False, True]


def test_auto_resume_has_nothing_to_do_for_a_finished_run_of_the_same_configuration(
    pipeline: SimpleNamespace, storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    run.write_text("summary.json", '{"state": "finished"}')
    same = config_of(run, tmp_path)
    assert cli.main(["run", same, "--auto-resume"]) == 0
    assert "finished already" in capsys.readouterr().out
    assert cli.main(["run", same, "--auto-resume", "train.steps=999"]) == 0
    assert [resume for _, resume, _ in pipeline.calls] == [True]


def test_logs_lists_a_runs_processes_and_shows_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    (Path(run.path) / "logs").mkdir(exist_ok=True)
    (Path(run.path) / "logs" / "driver.log").write_text("all is well\n")
    assert cli.main(["logs", run.path]) == 0
    assert capsys.readouterr().out.startswith("driver")
    assert cli.main(["logs", run.path, "driver"]) == 0
    assert "all is well" in capsys.readouterr().out
    assert cli.main(["logs", run.path, "nobody"]) == Exit.USAGE


def test_a_run_may_be_named_by_its_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    monkeypatch.setattr("dsa_ray.actors.jobs.run_of_job", {"raysubmit_a": run.path, "job:old": run.path}.__getitem__)
    assert cli.main(["status", "raysubmit_a"]) == 0
    assert cli.main(["logs", "job:old"]) == 0


def test_resuming_a_run_that_is_not_there_is_refused(pipeline: SimpleNamespace, storage: str) -> None:
    assert cli.main(["run", QUICKSTART, storage, "--resume"]) == Exit.USAGE


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    pipeline: SimpleNamespace, storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", QUICKSTART, "--dry-run", storage]) == 0
    text = capsys.readouterr().out
    for word in ("target", "training_source", "Memory", str(tmp_path)):
        assert word in text
    assert list(tmp_path.iterdir()) == []
    assert pipeline.calls == []


def test_a_dry_run_for_a_cluster_tells_what_it_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(ROOT / "configs" / "cluster-7b-zero3.yaml"), "--dry-run"]) == 0
    assert "25 GPUs" in capsys.readouterr().out


def test_a_dry_run_that_cannot_be_placed_is_exit_code_2(storage: str) -> None:
    assert cli.main(["run", QUICKSTART, storage, "--dry-run", "train.ranks=100"]) == Exit.USAGE


def test_a_dry_run_plans_for_a_cluster_that_is_not_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "configs" / "one-gpu.yaml")
    assert cli.main(["run", config, "--dry-run", "--on", "cpus=12,gpus=1,gpu_gib=24"]) == 0
    text = capsys.readouterr().out
    assert "Placement on 12 CPUs and 1 GPUs" in text
    assert "warning: a teacher needs about" in text


@pytest.mark.parametrize("words", [["--dry-run", "--on", "gpus=1"], ["--on", "cpus=4"]])
def test_a_cluster_that_cannot_be_planned_for_is_exit_code_2(words: list[str]) -> None:
    assert cli.main(["run", QUICKSTART, *words]) == Exit.USAGE


def test_planning_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from dsa_ray.cli import main; assert main(['run', sys.argv[1], '--dry-run']) == 0; "
        "heavy = {'ray', 'torch', 'vllm', 'deepspeed', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, QUICKSTART], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_status_of_a_new_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    assert cli.main(["status", run.path]) == 0
    assert "not started yet" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["status"], ["report"], ["explain"]])
def test_a_folder_that_is_no_run_is_exit_code_2(command: list[str], tmp_path: Path) -> None:
    assert cli.main([*command, str(tmp_path), *(["3"] if command == ["explain"] else [])]) == Exit.USAGE


def test_a_run_may_be_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs", "mine")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["status", "mine"]) == 0


def test_a_report_before_the_end_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", make_run(tmp_path).path]) == Exit.USAGE
    assert "not ended yet" in capsys.readouterr().err


def test_a_report_prints_what_the_run_came_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    summary.write(summary.build(run={"state": "finished", "seed": 0}, graph={}), run)
    assert cli.main(["report", run.path]) == 0
    assert "finished" in capsys.readouterr().out


def test_an_id_that_was_never_minted_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", make_run(tmp_path).path, "99"]) == Exit.USAGE
    assert "no exercise of this run" in capsys.readouterr().err


def test_an_unknown_benchmark_names_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ring.py").write_text("import sys; sys.exit(7 if '--quick' in sys.argv else 5)")
    monkeypatch.setattr(cli, "BENCHES", tmp_path)
    assert cli.main(["bench", "rong"]) == Exit.USAGE
    assert "known are ring" in capsys.readouterr().err
    assert cli.main(["bench", "ring"]) == 5
    assert cli.main(["bench", "ring", "--quick"]) == 7
    assert cli.main(["bench"]) == 0


@pytest.mark.parametrize(
    ("words", "passed_on"),
    [
        (["ring"], []),
        (["ring", "--steps", "5", "--out=x y", "--quick", "more"], ["--steps", "5", "--out=x y", "--quick", "more"]),
        (["--quick", "ring", "--steps", "5"], ["--quick", "--steps", "5"]),
        (["ring", "--help"], ["--help"]),
        (["ring", "ring", "-h", "--", "key=value"], ["ring", "-h", "--", "key=value"]),
    ],
)
def test_what_stands_behind_a_benchmarks_name_is_passed_on(
    words: list[str], passed_on: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ring.py").touch()
    monkeypatch.setattr(cli, "BENCHES", tmp_path)
    called: list[list[str]] = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: called.append(command) or 4)
    assert cli.main(["bench", *words]) == 4
    assert called == [[sys.executable, str(tmp_path / "ring.py"), *passed_on]]


def test_bench_tells_of_itself_and_refuses_what_stands_before_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in ((["bench", "--help"], 0), (["bench", "--steps", "curator"], Exit.USAGE)):
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        assert stop.value.code == code
    assert "passed on" in capsys.readouterr().out


def test_generate_passes_the_resolved_configuration_on(monkeypatch: pytest.MonkeyPatch, storage: str) -> None:
    calls: list[tuple[Config, bool]] = []
    monkeypatch.setitem(
        sys.modules,
        "dsa_ray.writing",
        SimpleNamespace(generate=lambda config, allow_changes: calls.append((config, allow_changes)) or 3),
    )
    assert cli.main(["generate", QUICKSTART, storage, "run.name=w"]) == 3
    assert cli.main(["generate", QUICKSTART, storage, "run.name=w", "--allow-changes"]) == 3
    assert calls[0][0].run.name == "w"
    assert [allowed for _, allowed in calls] == [False, True]


def test_a_wrong_file_of_seeds_leaves_nothing_that_refuses_the_right_one(
    tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", QUICKSTART, storage, "run.name=w"]
    assert cli.main([*command, "generate.seeds=[{path: nowhere.jsonl}]"]) == Exit.USAGE
    assert "nowhere.jsonl" in capsys.readouterr().err
    assert not list((tmp_path / "w").glob("*.json"))
    assert cli.main([*command, "graph.file=nowhere.yaml"]) == Exit.USAGE
    assert "graph.file" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["generate"]])
def test_a_name_that_the_graphs_file_has_not_stops_before_anything_starts(
    command: list[str], pipeline: SimpleNamespace, tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("target: Calculus\nskills:\n- Limits\n- name: Calculus\n  needs: [Limits]\n")
    targets = "curriculum={sampler: skill_it, setting: out_of_domain, targets: [Limmits]}"
    graph = [f"graph.file={file}", "graph.target=Calculus", "graph.elementary=[]", targets]
    assert cli.main([*command[:1], QUICKSTART, *command[1:], storage, *graph]) == Exit.USAGE
    told = capsys.readouterr().err
    assert told.startswith("dsa: curriculum.targets: 'Limmits' (did you mean 'Limits'?) names no skill of")
    assert told.count("\n") == 1
    assert pipeline.calls == []


def test_an_unknown_format_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "nowhere", "--format", "word", "--out", str(tmp_path)]) == 2
    assert "known are parquet, jsonl, trl, alpaca, sharegpt" in capsys.readouterr().err


def test_a_run_without_texts_is_exported_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parse({"run": {"name": "empty", "storage": str(tmp_path)}, "graph": {"target": "t"}})
    RunFolder.create(str(tmp_path), config).close()
    out = tmp_path / "out"
    assert cli.main(["export", str(tmp_path / "empty"), "--format", "jsonl", "--out", str(out)]) == 0
    assert "exercises.jsonl: 0 rows" in capsys.readouterr().out
    assert (out / "README.md").is_file()


def test_a_hub_that_cannot_be_reached_is_one_line_and_a_failed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HTTPError, OIDCError

    for error in (HTTPError("[Errno 111]\nConnection refused"), OIDCError("no id token"), OSError("401\n\nlog in")):
        api = SimpleNamespace(create_repo=lambda *_, error=error, **__: raising(error)(None))
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda api=api: api)
        out = str(tmp_path / "out")
        command = ["export", make_run(tmp_path, "a").path, "--format", "jsonl", "--out", out, "--push", "me/data"]
        assert cli.main(command) == Exit.FAILED
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"--push me/data: {type(error).__name__}: {' '.join(str(error).split())}; the files are in {out}" in told
        shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["generate"], ["graph", "build"]])
def test_a_template_of_ones_own_that_nothing_asks_for_stops_before_anything_starts(
    command: list[str], pipeline: SimpleNamespace, tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "exercse.j2").write_text("{% block system %}{% endblock %}{% block user %}{% endblock %}")
    words = [*command[:2], QUICKSTART] if command[0] == "graph" else [command[0], QUICKSTART, *command[1:]]
    assert cli.main([*words, storage, f"generate.prompts={own}"]) == Exit.USAGE
    told = capsys.readouterr().err
    assert f"generate.prompts: template {own}/exercse.j2: nothing asks for" in told
    assert told.count("\n") == 1
    assert pipeline.calls == []
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize("command", ["run", "generate"])
def test_one_of_several_teachers_whose_factory_is_not_there_stops_before_anything_starts(
    command: str, tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    teachers = "teachers=[{kind: python, factory: 'dsa_ray.embedded.engine:exact_writer'}, "
    teachers += "{kind: python, factory: 'no_such_module_here:build'}]"
    assert cli.main([command, QUICKSTART, storage, "generate.min_replicas=null", teachers]) == Exit.USAGE
    told = capsys.readouterr().err
    assert told == "dsa: teachers.1.factory: there is no module no_such_module_here; is it on PYTHONPATH?\n"
    assert not list(tmp_path.iterdir())
