import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.report.loggers import MLFLOW_RUN, Loggers, check_loggers, figures

ROWS = [
    {"step": 5, "phase": "exercises", "time": 1.0, "loss": 2.5, "lr": 1e-3, "time/step": 0.1, "grad_norm": 1.0},
    {
        "step": 10,
        "phase": "exercises",
        "time": 2.0,
        "loss": 1.5,
        "lr": 1e-3,
        "time/step": 0.1,
        "grad_norm": float("nan"),
    },
]


def a_config(*loggers: str, **run: Any) -> Config:
    return parse({"run": {"name": "one", "loggers": loggers, **run}, "graph": {"target": "Calculus"}})


def logged(config: Config, folder: Path) -> Loggers:
    loggers = Loggers(config, str(folder))
    loggers.log(ROWS)
    loggers.close()
    return loggers


def test_only_numbers_over_steps_are_figures() -> None:
    assert figures(ROWS[0]) == {"loss": 2.5, "lr": 1e-3, "time/step": 0.1, "grad_norm": 1.0}
    assert figures(ROWS[1]) == {"loss": 1.5, "lr": 1e-3, "time/step": 0.1}


def test_nothing_is_imported_for_loggers_that_are_not_configured(tmp_path: Path) -> None:
    before = set(sys.modules)
    assert logged(a_config(), tmp_path).notes == []
    assert not (set(sys.modules) - before) & {"wandb", "mlflow", "trackio", "tensorboardX"}


def test_a_logger_that_is_not_installed_is_refused_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^run\.loggers: mlflow needs the package mlflow.*pip install mlflow"
    ) as line:
        check_loggers(a_config("tensorboard", "mlflow"), find=lambda module: module != "mlflow" or None)
    assert "\n" not in str(line.value)
    check_loggers(a_config("tensorboard", "mlflow"), find=lambda module: True)


def test_an_unknown_logger_is_refused_by_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"run\.loggers"):
        a_config("neptune")


def test_tensorboard_needs_a_local_run_folder() -> None:
    with pytest.raises(ConfigError, match="must be local"):
        check_loggers(a_config("tensorboard", storage="s3://bucket/runs"), find=lambda module: True)


def test_tensorboard_files_hold_the_figures(tmp_path: Path) -> None:
    assert logged(a_config("tensorboard"), tmp_path).notes == []
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert scalars(file) == {("loss", 5): 2.5, ("loss", 10): 1.5, ("grad_norm", 5): 1.0} | {
        (name, step): pytest.approx(value) for name, value in (("lr", 1e-3), ("time/step", 0.1)) for step in (5, 10)
    }


def scalars(file: Path) -> dict[tuple[str, int], float]:
    """What an event file holds: records of length (8), its checksum (4), data, checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    data, found, at = file.read_bytes(), {}, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        at += 16 + length
    return found


class Recorder:
    """Takes every call, whatever its name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple, dict]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, arguments, named))
            return self

        return call

    def of(self, name: str) -> list[tuple[tuple, dict]]:
        return [(arguments, named) for called, arguments, named in self.calls if called == name]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    recorder.info = SimpleNamespace(run_id="4d0c")  # type: ignore[attr-defined]
    for module in ("wandb", "mlflow", "trackio"):
        monkeypatch.setitem(sys.modules, module, recorder)
    return recorder


def test_wandb_gets_project_name_configuration_and_steps(double: Recorder, tmp_path: Path) -> None:
    assert logged(a_config("wandb", project="skills"), tmp_path).notes == []
    ((_, named),) = double.of("init")
    assert (named["project"], named["name"], named["id"], named["resume"]) == ("skills", "one", "one", "allow")
    assert named["config"]["graph.target"] == "Calculus"
    assert [(given[0]["loss"], named["step"]) for given, named in double.of("log")] == [(2.5, 5), (1.5, 10)]
    assert len(double.of("finish")) == 1


def test_mlflow_gets_experiment_parameters_and_metrics(double: Recorder, tmp_path: Path) -> None:
    assert logged(a_config("mlflow"), tmp_path).notes == []
    assert double.of("set_experiment") == [(("dsa_ray",), {})]
    ((parameters,), _), *_ = double.of("log_params")
    assert parameters["train.zero_stage"] == "2"
    assert max(map(len, parameters.values())) <= 500
    assert [named["step"] for _, named in double.of("log_metrics")] == [5, 10]
    assert double.calls[-1][0] == "end_run"


def test_a_resumed_run_goes_on_in_the_run_that_mlflow_has_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str | None, str | None]] = []

    def start_run(run_id: str | None, run_name: str | None) -> Any:
        asked.append((run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="4d0c"))

    silent = dict.fromkeys(("set_experiment", "log_params", "log_metrics", "end_run"), lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(start_run=start_run, **silent))
    for _ in range(2):
        assert logged(a_config("mlflow"), tmp_path).notes == []
    assert asked == [(None, "one"), ("4d0c", None)]
    assert (tmp_path / MLFLOW_RUN).read_text() == "4d0c"


def test_trackio_gets_project_and_steps(double: Recorder, tmp_path: Path) -> None:
    assert logged(a_config("trackio"), tmp_path).notes == []
    assert double.of("init")[0][1]["project"] == "dsa_ray"
    assert [(given[0]["loss"], named["step"]) for given, named in double.of("log")] == [(2.5, 5), (1.5, 10)]
    assert double.calls[-1][0] == "finish"


def test_a_logger_that_fails_is_left_out_and_named(tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {"wandb": [], "trackio": []}

    def open_one(name: str, config: Config, folder: str) -> Any:
        def log(step: int, figures: Mapping[str, float]) -> None:
            seen[name].append(step)
            if name == "wandb":
                raise ConnectionError("the service is down\nand more")

        return SimpleNamespace(log=log, close=lambda: None)

    loggers = Loggers(a_config("wandb", "trackio"), str(tmp_path), open_one)
    loggers.log(ROWS)
    loggers.close()
    assert seen == {"wandb": [5], "trackio": [5, 10]}
    (note,) = loggers.notes
    assert note.startswith("run.loggers: wandb failed at step 5 (ConnectionError: the service is down)")


def test_wandb_offline_writes_its_run_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert logged(a_config("wandb"), tmp_path).notes == []
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert any(file.suffix == ".wandb" and file.stat().st_size for file in folder.iterdir())


def test_trackio_writes_its_data_base_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    assert logged(a_config("trackio"), tmp_path).notes == []
    run = trackio.Api().runs("dsa_ray")[0]
    assert json.loads(json.dumps(run.name)) == "one"
