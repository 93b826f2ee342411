"""`dsa graph learn`: what a run's exercises say of its skill graph, by training a small proxy model on them.

    exercises of the run --> proxy runs (Ray tasks, one per skill or pair) --> transfer/*.json --> weights --> graph

Each run's losses are a file in the run's folder, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray

from dsa_ray.actors.own_ray import start_ray
from dsa_ray.actors.tasks import run_tasks
from dsa_ray.config import Config, ConfigError
from dsa_ray.embedded import shipped
from dsa_ray.records import Exercise, SkillGraph
from dsa_ray.skills.files.formats import format_of, graph_text
from dsa_ray.skills.learned import Losses, Method, ProxyRun, Rule, proxy_runs, transfer, with_learned
from dsa_ray.skills.start import graph_of
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_from_row
from dsa_ray.training.proxy import ProxyPlan, Tokens, train_proxy

FOLDER = "transfer"
"""Where a run keeps the losses of its proxy runs."""
PROBE_STEPS = 2
Split = tuple[dict[str, list[Tokens]], dict[str, list[Tokens]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnOptions:
    """What `dsa graph learn` was asked for."""

    run: str
    out: str
    method: Method = "single"
    rule: Rule = "gain"
    steps: int = 150
    batch: int = 8
    held_out: int = 8
    """Exercises per skill that the proxy is not trained on."""
    proxy: str | None = None
    """Folder of the proxy model; none takes the run's untrained student."""
    estimate: bool = False
    """Only say what it would cost."""


def learn_graph(options: LearnOptions) -> int:
    """Learn, write the graph, tell where it disagrees; returns the exit code.

    Raises:
        ConfigError: the run has no graph or too few exercises; in one line.
    """
    folder = RunFolder.open(options.run)
    graph = graph_of(folder)
    if graph is None:
        raise ConfigError(f"{folder.path}: its graph is not drawn yet; see `dsa status {options.run}`")
    data = split(folder, graph, options.held_out)
    skills = sorted(data[0])
    if len(skills) < 2:
        raise ConfigError(f"{folder.path}: fewer than two skills have more than {options.held_out} exercises")
    model = options.proxy or shipped.resolve(folder.config.student.model)
    plan = ProxyPlan(model=model, steps=options.steps, batch=options.batch)
    runs = proxy_runs(skills, options.method)
    open_runs = [run for run in runs if not folder.exists(_file(plan, run))]
    print(estimate(plan, folder, data, (len(runs), len(open_runs))), flush=True)
    left_out = sum(not skill.group for skill in graph.skills) - len(skills)
    if left_out:
        print(f"{left_out} skills have too few exercises to hold {options.held_out} out: not measured")
    if options.estimate:
        return 0
    _make(plan, folder, data, open_runs)
    losses = {run.skills: Losses.from_row(json.loads(folder.read_text(_file(plan, run)))) for run in runs}
    weights, counts = transfer(losses, skills, sorted(data[1]), options.rule)
    merged, disagreement = with_learned(graph, weights, generator=Path(model).name)
    Path(options.out).write_text(graph_text(merged, format_of(options.out)), encoding="utf-8")
    print("\n".join(disagreement.lines(weights)))
    if counts["not_measured"]:
        print(f"{counts['not_measured']} pairs of skills could not be measured")
    print(f"{options.out}: {len(merged.skills)} skills, {len(merged.edges)} edges; dsa graph show {options.out}")
    return 0


def split(folder: RunFolder, graph: SkillGraph, held_out: int) -> Split:
    """The run's exercises by the skill that they were ordered for: to train on, and the first ones held out.

    Skills with no more than `held_out` exercises are in neither.
    """
    known = {skill.id for skill in graph.skills}
    found: dict[str, list[Tokens]] = defaultdict(list)
    for _, rows in iter_segments(folder.journal, STREAM):
        for written in map(written_from_row, rows):
            skill = written.request.skills[0] if written.request.skills else ""
            if isinstance(written.item, Exercise) and skill in known and written.loss_tokens:
                found[skill].append((tuple(written.input_ids), max(1, written.prompt_tokens)))
    enough = {skill: items for skill, items in found.items() if len(items) > held_out}
    return (
        {skill: items[held_out:] for skill, items in enough.items()},
        {skill: items[:held_out] for skill, items in enough.items()},
    )


def estimate(plan: ProxyPlan, folder: RunFolder, data: Split, runs: tuple[int, int]) -> str:
    """What it will cost, from two steps of the proxy on this machine."""
    skill = min(data[0])
    began = time.monotonic()
    short = ProxyPlan(model=plan.model, steps=PROBE_STEPS, batch=plan.batch, evaluations=1)
    train_proxy(short, folder.config.train, (data[0], {skill: data[1][skill]}), [skill])
    per_step = (time.monotonic() - began) / PROBE_STEPS
    hours = runs[1] * plan.steps * per_step / 3600
    return (
        f"{runs[0]} runs of {plan.steps} steps, {runs[0] - runs[1]} of them there already; at most {per_step:.2f} s a "
        f"step on one CPU, so at most {hours:.2f} CPU hours"
    )


def _make(plan: ProxyPlan, folder: RunFolder, data: Split, runs: list[ProxyRun]) -> None:
    """Make the runs that are missing; each is kept as soon as it ends."""
    if not runs:
        return
    _start_ray(folder.config)
    calls = {_file(plan, run): (run.skills,) for run in runs}
    try:
        for done, (name, row) in enumerate(
            run_tasks(functools.partial(_one, plan), (folder.config.train, data), calls)
        ):
            folder.write_text(name, json.dumps(row))
            print(f"{done + 1} of {len(runs)}: {', '.join(row['skills'])}", flush=True)
    finally:
        ray.shutdown()


def _start_ray(config: Config) -> None:
    """Join the configured cluster, or start one on this machine."""
    joined = config.cluster.address or ("auto" if "RAY_ADDRESS" in os.environ else None)
    if joined is not None:
        ray.init(address=joined, log_to_driver=False)
        return
    start_ray(config.cluster.cpus, include_dashboard=False)


def _one(plan: ProxyPlan, shared: tuple[Any, Split], skills: tuple[str, ...]) -> Mapping[str, Any]:
    import torch

    torch.set_num_threads(1)
    config, data = shared
    return {**train_proxy(plan, config, data, skills), "skills": list(skills), "plan": asdict(plan)}


def _file(plan: ProxyPlan, run: ProxyRun) -> str:
    """Runs of another plan are other files."""
    key = ProxyRun((json.dumps(asdict(plan), sort_keys=True), *run.skills)).name
    return f"{FOLDER}/{key}.json"
