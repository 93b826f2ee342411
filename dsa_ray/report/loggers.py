"""Experiment loggers: the figures of metrics.jsonl, handed to TensorBoard, wandb, mlflow or trackio.

Each library is imported only when it is configured (`run.loggers`). A logger that fails in the middle of a run is left
out from then on and named at the end: a service that is down is no reason to lose a run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from dsa_ray.config import Config, ConfigError
from dsa_ray.sections import leaves
from dsa_ray.storage.filesystem import Folder

logger = logging.getLogger(__name__)

MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
"""Logger to the module that it is written with; tensorboardX comes with Ray Train."""
MLFLOW_RUN = "mlflow-run"
"""File in the run folder with the id that mlflow gave the run."""
_NOT_FIGURES = ("step", "time")
_LONGEST_PARAMETER = 500
"""Characters; mlflow refuses longer ones."""


class Logger(Protocol):
    """One place where figures go."""

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Loggers:
    """All configured loggers of a run.

    Args:
        open_one: makes a logger from its name, the configuration and the run folder (tests).
    """

    def __init__(
        self, config: Config, folder: str, open_one: Callable[[str, Config, str], Logger] | None = None
    ) -> None:
        self._open: dict[str, Logger] = {}
        self.notes: list[str] = []
        """One line for each logger that failed."""
        for name in config.run.loggers:
            try:
                self._open[name] = (open_one or _open)(name, config, folder)
            except Exception as error:  # whatever a service raises
                self._leave_out(name, "could not be opened", error)

    def log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Lines of metrics.jsonl, in order."""
        for row in rows:
            shown = figures(row)
            for name, target in list(self._open.items()):
                try:
                    target.log(int(row["step"]), shown)
                except Exception as error:
                    self._leave_out(name, f"failed at step {row['step']}", error)

    def close(self) -> None:
        """Send what is left; may be called more than once."""
        for name, target in list(self._open.items()):
            try:
                target.close()
            except Exception as error:
                self._leave_out(name, "could not be closed", error)
        self._open.clear()

    def _leave_out(self, name: str, what: str, error: Exception) -> None:
        self._open.pop(name, None)
        first = (str(error).strip().splitlines() or [""])[0][:200]
        self.notes.append(f"run.loggers: {name} {what} ({type(error).__name__}: {first}); metrics.jsonl has everything")
        logger.warning("%s", self.notes[-1])


def check_loggers(config: Config, find: Callable[[str], object] = find_spec) -> None:
    """Every configured logger has to be installed. `find` tells whether a module is.

    Raises:
        ConfigError: names the logger and what to do.
    """
    for name in config.run.loggers:
        if find(MODULES[name]) is None:
            raise ConfigError(
                f"run.loggers: {name} needs the package {MODULES[name]}, which is not installed; "
                f"pip install {MODULES[name]}, or leave {name} out"
            )
    if "tensorboard" in config.run.loggers and "://" in config.run.storage:
        raise ConfigError(
            "run.loggers: tensorboard writes into the run folder, which must be local; "
            f"{config.run.storage} is not; leave tensorboard out"
        )


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line that can be drawn over steps: `loss`, `grad_norm`, `lr`, `time/step` and the like."""
    numbers = {
        name: value for name, value in row.items() if isinstance(value, int | float) and name not in _NOT_FIGURES
    }
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def parameters(config: Config) -> dict[str, Any]:
    """The configuration as flat `section.key` pairs."""
    return dict(leaves(config.model_dump(mode="json")))


class _TensorBoard:
    """Event files in the run's folder `tensorboard/`."""

    def __init__(self, config: Config, folder: str) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(f"{folder}/tensorboard")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of the project `run.project`; resumed under the same id. `WANDB_MODE=offline` keeps it on the disk."""

    def __init__(self, config: Config, folder: str) -> None:
        import wandb

        where = {} if "://" in folder else {"dir": folder}
        run = config.run
        self._run = wandb.init(
            project=run.project,
            name=run.name,
            id=run.name,
            resume="allow",
            config=parameters(config),
            settings=wandb.Settings(console="off", silent=True),
            **where,
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    """A run of the experiment `run.project`, taken up again on resume; where, MLFLOW_TRACKING_URI says."""

    def __init__(self, config: Config, folder: str) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(config.run.project)
        kept = Folder(folder)
        known = kept.read(MLFLOW_RUN).decode() if kept.exists(MLFLOW_RUN) else None
        run = mlflow.start_run(run_id=known, run_name=None if known else config.run.name)
        kept.write(MLFLOW_RUN, run.info.run_id.encode())
        mlflow.log_params({name: str(value)[:_LONGEST_PARAMETER] for name, value in parameters(config).items()})

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(figures), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class _Trackio:
    """A run of the project `run.project`."""

    def __init__(self, config: Config, folder: str) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=config.run.project, name=config.run.name, config=parameters(config), resume="allow")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._trackio.log(dict(figures), step=step)

    def close(self) -> None:
        self._trackio.finish()


_KINDS: Mapping[str, Callable[[Config, str], Logger]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "mlflow": _Mlflow,
    "trackio": _Trackio,
}


def _open(name: str, config: Config, folder: str) -> Logger:
    return _KINDS[name](config, folder)
