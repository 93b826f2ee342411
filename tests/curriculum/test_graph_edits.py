"""Skills that join a run, and runs whose graph does not come from a decomposition."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.curriculum.curator import Curator
from dsa_ray.curriculum.host import CuratorHost
from dsa_ray.curriculum.supply import Supply
from dsa_ray.records import Assignment, ExerciseRequest, Kind
from dsa_ray.skills.edits import Edit
from dsa_ray.skills.files.formats import graph_text
from dsa_ray.skills.graph import check
from dsa_ray.skills.start import construction, read_start
from dsa_ray.storage.edits import put_edit
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum.simulation import World, numbers_for, small_config
from tests.skills.builders import a_graph

SLOPE = Edit(name="Slopes of lines", prerequisites=("fractions",), needed_by=("derivatives",)).row()


def requests(events: list[dict[str, Any]], skill: str) -> Counter[str]:
    return Counter(e["kind"] for e in events if e["event"] == "request" and e["skills"][0] == skill)


def play(world: World, attempt: int, steps: int) -> None:
    for _ in range(steps):
        world.now += 1.0
        world.write()
        world.train_step(attempt)


@pytest.mark.parametrize("at", [0, 30], ids=["before training", "among the exercises"])
def test_a_skill_that_joins_gets_its_textbook_and_exercises_written_and_trained(at: int) -> None:
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    play(world, attempt, at)
    world.curator.edit("one", SLOPE)
    world.curator.edit("one", SLOPE)
    for _ in range(500):
        play(world, attempt, 1)
        if world.curator.lease_rows(0, attempt, 0) is None:
            break

    supply = world.curator.supply
    assert "slopes-of-lines" in {skill.id for skill in supply.graph.skills}
    assert check(supply.graph) == []
    ordered = requests(world.events, "slopes-of-lines")
    assert ordered[Kind.TEXTBOOK] == 1
    assert ordered[Kind.EXERCISE] >= world.config.generate.exercises_per_skill
    book = supply.textbooks["slopes-of-lines"][0]
    read = [row for row in world.rows if any(item.exercise == book for item in row.items)]
    assert len(read) == 2  # 200 tokens in rows of 128
    assert {row.phase for row in read} == {"exercises" if at else "textbooks"}
    trained = {item.exercise for row in world.rows for item in row.items}
    mine = {e["id"] for e in world.events if e["event"] == "request" and e["skills"][0] == "slopes-of-lines"}
    assert len(mine & trained) > 5
    assert book not in world.curator.table.ids()
    by_step: dict[int, list[int]] = {}
    for row in world.rows:
        by_step.setdefault(row.step, []).append(row.rank)
    assert all(sorted(ranks) == [0, 1] for ranks in by_step.values())


def test_an_edit_that_cannot_be_carried_out_is_told_and_stops_nothing() -> None:
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    play(world, attempt, 30)
    for name, row in (("a", None), ("b", {"skill": "x", "prerequisites": ["cooking"]}), ("c", {"skill": "Limits"})):
        world.curator.edit(name, row)
    refused = [event["refused"] for event in world.events if event["event"] == "edit"]
    assert len(refused) == 3
    assert "no such skill" in refused[1]
    play(world, attempt, 5)


def test_a_run_rebuilt_from_its_journal_keeps_the_skill_and_orders_nothing_twice() -> None:
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    play(world, attempt, 30)
    state = pack_state(world.curator.training_state())
    steps = world.curator.planner.textbook_steps
    world.curator.edit("one", SLOPE)
    play(world, attempt, 10)

    events = json.loads(json.dumps(world.events))
    again = Curator(world.config, world.events.append)
    again.restore_supply(events, world.written)
    again.start()
    again.edit("one", SLOPE)
    again.restore_training(unpack_state(state))
    assert again.supply.graph == world.curator.supply.graph
    assert again.planner.textbook_steps == steps
    assert again.planner.late == world.curator.planner.late != set()
    assert again.supply.book.unsettled == world.curator.supply.book.unsettled
    assert requests(world.events, "slopes-of-lines")[Kind.TEXTBOOK] == 1


def test_files_handed_in_are_taken_once_and_half_written_ones_are_left_alone(tmp_path: Path) -> None:
    config = small_config(run={"name": "test", "storage": str(tmp_path)})
    with RunFolder.create(str(tmp_path), config) as run:
        host = CuratorHost(config, run.path)
        host.start()
        assert host.poll_edits() == []
        put_edit(run.folder, SLOPE)
        edits = Folder(f"{run.path}/edits")
        [name] = edits.names()
        Path(edits.path(f"{name}.1-2.tmp")).write_text('{"skill": "half')
        Path(edits.path("notes.txt")).write_text("x")
        Path(edits.path(f"{10**18:020d}-00000000.json")).write_text("[" * 100_000)
        found = host.poll_edits()
        assert [row for _, row in found] == [None, SLOPE]
        host.take_edits(found)
        assert host.poll_edits() == []
        world = _drive(host)
        assert "slopes-of-lines" in {node["id"] for node in json.loads(run.read_text("graph.json"))["nodes"]}
        refused = [event for event in world if event["event"] == "edit" and "refused" in event]
        assert len(refused) == 1


def _drive(host: CuratorHost) -> list[dict[str, Any]]:
    """Write until the graph is there; the events."""
    for segment in range(20):
        assignments = host.curator.lease_requests("r0", "1", 32)
        host.accept(segment, [numbers_for(assignment, place) for place, assignment in enumerate(assignments)])
    return host.take_events()


def test_a_run_from_a_file_decomposes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(graph_text(a_graph("limits>calculus", "fractions>limits"), "yaml"))
    config = small_config(graph={"file": str(path)})
    events: list[dict[str, Any]] = []
    supply = Supply(config, events.append, read_start(config.graph))
    supply.start()
    assert supply.graph_done
    assert supply.taught == ("limits", "calculus")
    assert not [event for event in events if event.get("kind") == Kind.PREREQUISITES]


def test_a_run_from_a_file_can_grow_below_it(tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(graph_text(a_graph("limits>calculus"), "yaml"))
    config = small_config(graph={"file": str(path), "grow": True})
    start = json.loads(json.dumps(read_start(config.graph)))
    made = construction(config.graph, start)
    assert [question.brief.id for question in made.questions()] == ["limits"]


GLAN = {
    Kind.FIELDS: [["Science", ""]],
    Kind.SUBFIELDS: [["Mathematics", ""]],
    Kind.DISCIPLINES: [["Analysis", ""]],
    Kind.SUBJECTS: [["Limits", "basic: bounds"], ["Series", ""]],
    Kind.SYLLABUS: None,
    Kind.SESSIONS: [["Bounds", ""], ["Sums", ""]],
    Kind.CONCEPTS: [[f"{session} {n}", session] for session in ("Bounds", "Sums") for n in range(4)],
}


def glan_row(assignment: Assignment, place: int) -> dict[str, Any]:
    row = numbers_for(assignment, place)
    kind = assignment.request.kind
    row["concepts"] = [list(each) for each in assignment.request.concepts]
    if kind in GLAN and GLAN[kind] is not None:
        row["prerequisites"] = GLAN[kind]
        row["generator"] = "scripted@0"
    return row


def test_a_taxonomy_is_built_practised_and_counted_from_end_to_end() -> None:
    config = small_config(graph={"kind": "taxonomy", "target": "Knowledge", "queries": 3, "elementary": []})
    events: list[dict[str, Any]] = []
    curator = Curator(config, events.append, clock=lambda: 0.0)
    curator.start()
    written, syllabus_parents = [], set()
    for segment in range(200):
        assignments = curator.lease_requests("r0", "1", 32)
        for assignment in assignments:
            if assignment.request.kind in (Kind.SESSIONS, Kind.CONCEPTS):
                syllabus_parents.add(len(assignment.parents))
        rows = [glan_row(assignment, place) for place, assignment in enumerate(assignments)]
        written += [(segment, row) for row in rows]
        curator.accept(segment, rows)
        if not assignments:
            break

    supply = curator.supply
    assert syllabus_parents == {1}
    assert supply.taught == ("analysis-limits", "analysis-series")
    assert sum(requests(events, "analysis")[kind] for kind in (Kind.SUBJECTS,)) == 3
    exercises = [e for e in events if e["event"] == "request" and e["kind"] == Kind.EXERCISE]
    assert exercises
    assert all(e["concepts"] and len(e["skills"]) == 1 for e in exercises)
    totals = supply.coverage.totals(supply.graph)
    assert totals["concepts"] == 16
    assert totals["covered"] > 12

    again = Curator(config, [].append)
    again.restore_supply(json.loads(json.dumps(events)), json.loads(json.dumps(written)))
    again.start()
    assert again.supply.graph == supply.graph
    assert again.supply.coverage.rows(supply.graph) == supply.coverage.rows(supply.graph)
    assert again.supply.book.unsettled == supply.book.unsettled


def test_elementary_skills_of_another_spelling_than_the_files_are_not_taught(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(graph_text(a_graph("adding-fractions>limits", "limits>calculus"), "yaml"))
    config = small_config(graph={"file": str(path), "elementary": ["Adding fraction"]})
    events: list[dict[str, Any]] = []
    curator = Curator(config, events.append, supply=Supply(config, events.append, read_start(config.graph)))
    curator.start()
    assert curator.supply.elementary == {"adding-fractions"}
    assert curator.supply.taught == ("limits", "calculus")
    assert curator.warnings() == []
    assert requests(events, "adding-fractions")[Kind.TEXTBOOK] == 0
    assert requests(events, "limits")[Kind.TEXTBOOK] == 1


def test_a_run_that_is_gone_on_with_has_ordered_as_many_rounds_as_before(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(graph_text(a_graph("adding-fractions>limits", "limits>calculus"), "yaml"))
    config = small_config(graph={"file": str(path), "elementary": ["Adding fraction"]}, generate={"replay": 4})
    events: list[dict[str, Any]] = []
    first = Curator(config, events.append, supply=Supply(config, events.append, read_start(config.graph)))
    first.start()
    again = Supply(config, events.append, read_start(config.graph))
    again.restore(list(events), [])
    assert again._round == first.supply._round == config.generate.exercises_per_skill


def test_what_a_drawn_graph_lacks_is_a_warning_and_seeds_give_their_id_to_what_the_teacher_names() -> None:
    config = small_config(graph={"elementary": ["Fraction", "Vectors"]})
    world = World(config)
    seeds = [("integral",), ("word-problems",), ("word-problems", "integral")]
    requests = [ExerciseRequest(id=n, kind=Kind.GIVEN, skills=skills) for n, skills in enumerate(seeds, start=1)]
    rows = [numbers_for(Assignment(request=request, skills=()), request.id) for request in requests]
    world.curator.restore_supply([], [(0, row) for row in rows])
    world.curator.start()
    while world.curator.supply.graph is None:
        world.write()
    supply = world.curator.supply
    assert {skill.id for skill in supply.graph.skills} >= {"integral", "fraction"}
    assert "integrals" not in {skill.id for skill in supply.graph.skills}
    assert supply.elementary == {"fraction", "vectors"}
    assert world.curator.status()["warnings"] == [
        "graph.elementary: no skill of the graph is named 'Vectors'; see `dsa graph show`",
        "generate.seeds: 2 exercises are of skills that the graph has not, and are trained on beside it: word-problems",
    ]
