"""Lets the teacher draw the skill graph and nothing else: the ring without training.

    replicas ==generation stream==> recorder --> curator (graph only) --> graph.json, graph.yaml, taxonomy.yaml

It goes into a run folder of its own, `NAME-graph`, so that it can be interrupted and resumed as a run can. What comes
out is for people to change, and then for `graph.file` or `graph.taxonomy`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import ray

from dsa_ray.config import Config, ConfigError
from dsa_ray.embedded import shipped
from dsa_ray.exits import Exit
from dsa_ray.generation.own_templates import check_prompts
from dsa_ray.preflight import check
from dsa_ray.records import Scope, SkillGraph
from dsa_ray.ring import Ring, RingBroken
from dsa_ray.screen import quiet
from dsa_ray.skills import taxonomy_tree
from dsa_ray.skills.files.formats import graph_text
from dsa_ray.skills.graph import GraphError
from dsa_ray.skills.start import GRAPH, graph_of, read_start
from dsa_ray.storage.run_folder import RunFolder, storage_of
from dsa_ray.watchdog import Stalled, Watchdog

TICK_S = 0.5
TELL_S = 5.0
SUFFIX = "-graph"


def build_graph(config: Config, resume: bool = False) -> int:
    """Draw the graph; returns the exit code.

    Raises:
        ConfigError: the configuration, the run folder or the cluster does not allow it; in one line.
    """
    check(config)
    check_prompts(config)
    config = config.model_copy(update={"run": config.run.model_copy(update={"name": config.run.name[:58] + SUFFIX})})
    storage = storage_of(config)
    if not resume:
        try:
            read_start(config.graph)
        except GraphError as error:
            raise ConfigError(str(error)) from None
    with RunFolder.create(storage, config, resume=resume) as folder, quiet(folder.driver_log) as terminal:
        code, told = _draw(config, folder, terminal)
    print("\n".join(told), file=sys.stdout if code == Exit.OK else sys.stderr)
    return code


def _draw(config: Config, folder: RunFolder, terminal: Any) -> tuple[int, list[str]]:
    ring = Ring(config, folder, shipped.resolve(config.student.model), (), Scope.GRAPH)
    try:
        ring.start()
        _wait(config, ring, terminal)
        ring.end_generation()
    except ConfigError:
        folder.discard()
        raise
    except KeyboardInterrupt:
        return Exit.INTERRUPTED, ["dsa: interrupted; go on with --resume"]
    except Stalled as error:
        return Exit.STALLED, [f"dsa: {error}"]
    except (RingBroken, ray.exceptions.RayError, TimeoutError) as error:
        return Exit.FAILED, [f"dsa: {str(error).splitlines()[0]}"]
    finally:
        ring.stop()
    return Exit.OK, _written(config, folder)


def _wait(config: Config, ring: Ring, terminal: Any) -> None:
    """Until the graph is there; tells every few seconds how far it is."""
    watchdog, told = Watchdog(config.watch.stall_s), time.monotonic()
    while True:
        time.sleep(TICK_S)
        status = ring.tend()
        if status["phase"] != "graph":
            return
        if not ring.starting:
            watchdog.look(status)
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            asked = status["queue_depth"] + status["outstanding"]
            print(f"drawing: {status['answered']} questions answered, {asked} open", file=terminal, flush=True)


def _written(config: Config, folder: RunFolder) -> list[str]:
    """Write the files for people; what to say of them."""
    graph = graph_of(folder)
    assert graph is not None
    files = {"graph.yaml": graph_text(graph, "yaml")}
    if config.graph.kind == "taxonomy":
        files["taxonomy.yaml"] = taxonomy_tree.write(graph)
    for name, text in files.items():
        folder.write_text(name, text)
    places = [f"  {folder.path}/{name}" for name in (GRAPH, *files)]
    return [_summary(graph), *places, f"Look at it: dsa graph show {folder.path}"]


def _summary(graph: SkillGraph) -> str:
    levels = 1 + max(skill.level for skill in graph.skills)
    sessions = sum(len(skill.sessions) for skill in graph.skills)
    taught = sum(not skill.group for skill in graph.skills)
    more = f", {taught} subjects with {sessions} class sessions" if taught < len(graph.skills) else ""
    return f"{len(graph.skills)} skills{more}, {len(graph.edges)} edges, {levels} levels"
