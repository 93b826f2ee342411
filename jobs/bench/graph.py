"""Skill graphs of a hundred thousand skills: order, levels, validity; and a decomposition into ten thousand.

    python jobs/bench/graph.py [--quick]

No model takes part: the teacher's answers come from a table, so that only the graph's own work is measured, in CPU
seconds of this process (it has one thread), which other work on the machine disturbs least.
`--quick` measures a tenth of everything.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar

from dsa_ray.machine import this_machine
from dsa_ray.records import Edge, Prerequisites, Skill, SkillGraph
from dsa_ray.skills.algorithms import frontier, groups_by_level, reduced
from dsa_ray.skills.cycles import resolve
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.graph import build, check, from_node_link, learning_order, to_node_link
from dsa_ray.skills.similar import SimilarSpelling
from dsa_ray.skills.versions import diff, merge

SKILLS, EDGES_PER_SKILL, NEAR = 100_000, 4, 2_000
DECOMPOSED = (2_500, 10_000, 40_000)
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    scale = 10 if parser.parse_args().quick else 1
    seconds: dict[str, float] = {}
    graph = random_graph(SKILLS // scale, seed=0)
    measure_graph(graph, seconds)
    decomposed = {size // scale: measure_decomposition(size // scale) for size in DECOMPOSED}
    figures = {
        "skills": len(graph.skills),
        "edges": len(graph.edges),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "decomposition_s": {str(size): round(value, 3) for size, value in decomposed.items()},
    }
    asked = sum(seconds[name] for name in ("order", "levels", "validity"))
    sizes = sorted(decomposed)
    growth = decomposed[sizes[-1]] / decomposed[sizes[0]] / (sizes[-1] / sizes[0])
    bars = {
        "order_levels_validity_s": at_most(asked, 3.0),
        "decomposition_growth_over_linear": at_most(growth, 2.0),
    }
    print_table(figures, bars)
    machine = this_machine()
    result: dict[str, Any] = {
        "bench": "graph",
        "figures": figures,
        "bars": {} if scale > 1 else bars,
        "machine": {"cpus": machine.cpus, "memory_gib": round(machine.memory_gib, 1)},
        "versions": {name: version(name) for name in ("networkx", "numpy")},
    }
    if scale > 1:
        result["skipped"] = list(bars)
    print(json.dumps(result))
    return 0


def random_graph(count: int, seed: int) -> SkillGraph:
    """Acyclic, every skill needed for the last one; edges lead a bounded way ahead, as levels of a subject do."""
    rng = random.Random(seed)
    pairs = {(place, rng.randint(place + 1, min(count - 1, place + NEAR))) for place in range(count - 1)}
    while len(pairs) < EDGES_PER_SKILL * count:
        start = rng.randrange(count - 1)
        pairs.add((start, rng.randint(start + 1, min(count - 1, start + NEAR))))
    skills = [Skill(id=f"skill-{place}", name=f"Skill {place}") for place in range(count)]
    edges = [Edge(prerequisite=f"skill-{a}", skill=f"skill-{b}") for a, b in sorted(pairs)]
    return build(f"skill-{count - 1}", skills, edges)


def measure_graph(graph: SkillGraph, seconds: dict[str, float]) -> None:
    text = json.dumps(to_node_link(graph))
    loaded = timed(seconds, "load from JSON", lambda: from_node_link(json.loads(text)))
    order = timed(seconds, "order", lambda: learning_order(loaded))
    timed(seconds, "levels", lambda: groups_by_level(loaded))
    faults = timed(seconds, "validity", lambda: check(loaded))
    assert faults == [], faults[:3]
    timed(seconds, "frontier, half mastered", lambda: frontier(loaded, order[: len(order) // 2]))
    small = random_graph(len(graph.skills) // 20, seed=1)
    timed(seconds, "transitive reduction of a twentieth", lambda: reduced(small))
    other = random_graph(len(graph.skills), seed=2)
    timed(seconds, "diff", lambda: diff(loaded, other))
    timed(seconds, "merge", lambda: merge(loaded, other))
    edges = list(graph.edges)
    turned = random.Random(3).sample(edges, len(edges) // 1000)
    knots = edges + [Edge(prerequisite=e.skill, skill=e.prerequisite, proposals=2) for e in turned]
    timed(seconds, "cycles resolved", lambda: resolve(knots))


def measure_decomposition(count: int) -> float:
    """Seconds of the graph's side of a decomposition: questions, answers with repeats and contradictions, the graph.

    Of five names that an answer holds three are new and two are known; in one answer of ten these are any.
    """
    rng = random.Random(count)
    made = Decomposition("target", 64, count, similar=SimilarSpelling(0.9))
    names, known = (f"theory of part {n}" for n in range(10 * count)), ["target"]
    began = time.process_time()
    while not made.done:
        for question in made.questions():
            new = [next(names) for _ in range(3)]
            near = known[-3 * len(new) :] if rng.random() < 0.9 else known
            old = [rng.choice(near), rng.choice(near)]
            known += new
            answer = tuple((name, "") for name in (*new, *old))
            made.accept(Prerequisites(skill=question.brief.id, names=answer), request=1)
    graph = made.graph()
    seconds = time.process_time() - began
    assert len(graph.skills) == count
    return seconds


def timed(seconds: dict[str, float], name: str, call: Callable[[], T]) -> T:
    began = time.process_time()
    result = call()
    seconds[name] = time.process_time() - began
    return result


def at_most(figure: float, bar: float) -> dict[str, Any]:
    return {"figure": round(figure, 4), "bar": bar, "ok": bool(figure <= bar)}


def print_table(figures: dict[str, Any], bars: dict[str, Any]) -> None:
    print(f"\n{figures['skills']:,} skills, {figures['edges']:,} edges")
    for name, value in figures["seconds"].items():
        print(f"  {name:<36} {value:8.2f} s")
    print("\ndecomposition")
    for size, value in figures["decomposition_s"].items():
        print(f"  {int(size):>7,} skills {value:8.2f} s  {1e6 * value / int(size):8.0f} us per skill")
    print("\nbars")
    for name, bar in bars.items():
        print(f"  {name:<36} {bar['figure']:>8}   bar {bar['bar']:>5}   {'ok' if bar['ok'] else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
