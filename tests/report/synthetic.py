"""Invented runs: small ones for tests, a large one to look at."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

from dsa_ray.report.html import ReportData
from dsa_ray.report.summary import Summary, build

CLASSES = ("easy_to_learn", "ambiguous", "hard_to_learn", "erroneous")


def mark(right: int, n: int) -> dict[str, Any]:
    """An exam's result with Wilson's 95 % interval."""
    share, z = right / n, 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"n": n, "right": right, "accuracy": share, "low": centre - half, "high": centre + half}


def graph(*names: str) -> dict[str, Any]:
    """A chain: each skill needs the one before it."""
    ids = [f"s{index}" for index in range(len(names))]
    nodes = [{"id": key, "name": name, "level": at} for at, (key, name) in enumerate(zip(ids, names, strict=True))]
    edges = [{"source": a, "target": b} for a, b in pairwise(ids)]
    return {"graph": {"target": ids[-1] if ids else ""}, "nodes": nodes, "edges": edges}


def exams(skills: dict[str, Any]) -> dict[str, Any]:
    keys = [node["id"] for node in skills["nodes"]]
    before = {"taught": mark(8, 40), "elementary": mark(18, 20)}
    after = {"taught": mark(30, 40), "elementary": mark(19, 20)}
    return {
        "before": {**before, "per_skill": {key: mark(2, 10) for key in keys}},
        "after": {**after, "per_skill": {key: mark(7, 10) for key in keys}},
    }


def curator() -> dict[str, Any]:
    return {
        "textbooks": 3,
        "written": 120,
        "rejected": {"schema": 7, "duplicate": 2},
        "verdicts": {"easy_to_learn": 30, "hard_to_learn": 10, "ambiguous": 50, "erroneous": 1},
        "decisions": {"keep": 50, "augment": 10, "compose": 15},
        "children": {"variant": {"written": 10, "trained": 8}, "composed": {"written": 14, "trained": 13}},
        "visits": [0, 1, 3, 3, 6],
        "lag": [
            {"kind": "variant", "lag_steps": 10, "lag_s": 2.0},
            {"kind": "composed", "lag_steps": 30, "lag_s": 6.0},
        ],
    }


def run_facts(state: str = "finished") -> dict[str, Any]:
    wall = {"graph": 4.0, "textbooks": 11.0, "exercises": 90.5, "exam": 20.0}
    return {"state": state, "seed": 7, "restarts": 1, "wall_s": wall, "versions": {"ray": "2.60.0", "torch": "2.13.0"}}


def summary(state: str = "finished") -> Summary:
    skills = graph("Adding", "Powers", "Chain rule")
    return build(
        run=run_facts(state),
        graph=skills,
        exams=exams(skills),
        curator=curator(),
        train={"steps": 40, "tokens": 12_000, "seconds": 10.0, "idle_ratio": 0.01, "losses": [2.0] * 20 + [1.0] * 20},
        generate={"tokens": 9000, "seconds": 30.0, "idle_ratio": 0.05},
    )


def large_graph(count: int, levels: int, seed: int = 0) -> dict[str, Any]:
    """A graph such as a teacher makes: one target, wide at the bottom, some edges over several levels."""
    dice = random.Random(seed)
    stems = [
        "fractions",
        "linear equations",
        "function composition",
        "limits of rational functions",
        "powers",
        "the product rule",
        "trigonometric identities",
        "graph sketching",
        "inverse functions",
        "sequences and series",
    ]
    level = {f"s{at}": min(levels - 2, int(levels * dice.random() ** 1.4)) for at in range(count - 1)}
    level.update({f"s{at}": at for at in range(levels - 1)})
    level[f"s{count - 1}"] = levels - 1
    edges: set[tuple[str, str]] = set()
    for skill, height in level.items():
        below = [other for other, low in level.items() if low == height - 1]
        deeper = [other for other, low in level.items() if low < height]
        if below:
            edges.update((other, skill) for other in dice.sample(below, min(len(below), dice.choice([1, 2]))))
            edges.update((other, skill) for other in dice.sample(deeper, min(len(deeper), dice.choice([0, 1, 1]))))
    for skill, height in level.items():
        if height < levels - 1 and not any(before == skill for before, _ in edges):
            edges.add((skill, dice.choice([other for other, high in level.items() if high == height + 1])))
    names = {key: f"{stems[at % len(stems)].capitalize()} {at}" for at, key in enumerate(level)}
    names[f"s{count - 1}"] = "Derivatives of composed functions"
    nodes = [
        {"id": key, "name": names[key], "level": level[key], "description": f"All about {names[key].lower()}."}
        for key in sorted(level, key=lambda key: (level[key], names[key]))
    ]
    return {
        "graph": {"target": f"s{count - 1}"},
        "nodes": nodes,
        "edges": [{"source": a, "target": b} for a, b in sorted(edges)],
    }


def large(seed: int = 1, skills: int = 45, levels: int = 7) -> ReportData:
    """A run of 600 steps with some thousand verdicts."""
    dice = random.Random(seed)
    drawn = large_graph(skills, levels, seed)
    marks = {node["id"]: (dice.randint(0, 6 - node["level"] // 2), dice.randint(9, 20)) for node in drawn["nodes"]}
    tested = {
        "before": {
            "taught": mark(163, 800),
            "elementary": mark(92, 100),
            "per_skill": {key: mark(low, 20) for key, (low, _) in marks.items()},
        },
        "after": {
            "taught": mark(581, 800),
            "elementary": mark(94, 100),
            "per_skill": {key: mark(high, 20) for key, (_, high) in marks.items()},
        },
    }
    metrics = _metrics(dice)
    verdicts = [_verdict(dice, exercise) for exercise in range(3200)]
    verdicts.sort(key=lambda row: row["step"])
    lag = [
        {
            "kind": dice.choice(["variant", "variant", "composed", "harder"]),
            "lag_steps": int(dice.lognormvariate(2.9, 0.5)),
            "lag_s": dice.lognormvariate(1.5, 0.5),
        }
        for _ in range(480)
    ]
    counted = {name: sum(row["verdict"] == name for row in verdicts) for name in CLASSES}
    total = build(
        run={
            "state": "finished",
            "seed": 7,
            "restarts": 1,
            "wall_s": {
                "graph": 14.2,
                "textbooks": 31.0,
                "pre-training": 64.9,
                "exercises": 213.4,
                "exam": 40.7,
                "report": 1.1,
            },
            "versions": {
                "dsa-ray": "0.1.0",
                "ray": "2.60.0",
                "torch": "2.13.0",
                "vllm": "0.32.0",
                "deepspeed": "0.19.8",
            },
        },
        graph=drawn,
        exams=tested,
        curator={
            "textbooks": skills,
            "written": 4180,
            "rejected": {
                "schema": 212,
                "duplicate": 167,
                "too_long": 48,
                "contaminated": 9,
                "truncated": 71,
                "engine": 2,
            },
            "verdicts": counted,
            "decisions": {"keep": 1702, "augment": 610, "compose": 703, "down_weight": 703, "drop": 64},
            "children": {
                "variant": {"written": 610, "trained": 522},
                "composed": {"written": 340, "trained": 301},
                "harder": {"written": 88, "trained": 61},
            },
            "visits": [dice.choice([1, 2, 3, 3, 3, 4, 6]) for _ in range(4000)],
            "lag": lag,
        },
        train={
            "steps": 640,
            "tokens": 2_412_000,
            "seconds": 278.0,
            "idle_ratio": 0.004,
            "losses": [row["loss"] for row in metrics if row["phase"] == "exercises"],
        },
        generate={"tokens": 812_000, "seconds": 310.0, "idle_ratio": 0.021},
    )
    return ReportData(
        summary=total,
        graph=drawn,
        config={
            "run": {"name": "calculus-7b"},
            "graph": {"target": "Derivatives of composed functions"},
            "teacher": {"model": "meta-llama/Llama-3.3-70B-Instruct", "kind": "vllm"},
            "student": {"model": "Qwen/Qwen3-8B"},
            "generate": {"replicas": 4, "in_flight": 64},
            "train": {"ranks": 4, "zero_stage": 2, "precision": "bf16"},
        },
        metrics=metrics,
        verdicts=verdicts,
        baselines={"L_average": 0.02, "L_b": 0.9, "sigma_average": 0.33, "sigma_b": 0.28},
        lag=lag,
    )


def _metrics(dice: random.Random) -> list[dict[str, Any]]:
    rows = []
    for step in range(1, 641):
        phase, at = ("textbooks", step / 90) if step <= 90 else ("exercises", (step - 90) / 550)
        loss = (3.1 - 1.2 * at if phase == "textbooks" else 0.55 + 1.7 * math.exp(-3 * at)) * dice.gauss(1, 0.06)
        rate = 1e-4 * min(1.0, at / 0.05) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * at)))
        rows.append(
            {
                "step": step,
                "phase": phase,
                "loss": loss,
                "lr": rate,
                "grad_norm": dice.lognormvariate(0, 0.3),
                "tokens_per_s": dice.gauss(8600, 400),
                "idle_ratio": max(0.0, dice.gauss(0.003, 0.006)),
                "queue_depth": 32,
                "written": step * 6,
                "rejected": step // 2,
            }
        )
    return rows


def _verdict(dice: random.Random, exercise: int) -> dict[str, Any]:
    mean, spread = dice.gauss(0.0, 0.45), dice.lognormvariate(-1.2, 0.5)
    step = int(100 + 540 * dice.betavariate(2.2, 1.4))
    if mean >= 0.9 and spread <= 0.28:
        name = "erroneous"
    elif spread < 0.33 and step > 130:
        name = "easy_to_learn" if mean < 0.02 else "hard_to_learn"
    else:
        name = "ambiguous"
    return {"step": step, "exercise": exercise, "verdict": name, "mean_loss": mean, "loss_spread": spread}
