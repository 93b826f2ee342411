import dataclasses
from collections import Counter

import pytest

from dsa_ray.config import ConfigError
from dsa_ray.curriculum.curator import Curator
from dsa_ray.curriculum.mixing import Mixing, group_phase
from dsa_ray.records import ExerciseRequest, Kind
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum.simulation import World, small_config
from tests.skills.builders import a_graph

SAMPLERS = (
    "random", "stratified", "curriculum", "anti_curriculum", "skill_curriculum", "skill_anti_curriculum", "skill_it"
)  # fmt: skip


def world(sampler: str, **curriculum) -> World:
    return World(small_config(curriculum={"sampler": sampler, "rounds": 4, **curriculum}))


def trained(run: World) -> list:
    rows = [row for row in run.rows if row.phase == "exercises"]
    return [item for row in rows for item in row.items]


def mixtures(run: World) -> list[dict]:
    return [event for event in run.events if event["event"] == "mixture"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_run_with_any_sampler_ends_and_every_step_is_full(sampler):
    run = world(sampler)
    run.run()
    assert run.curator.status()["step"] == run.curator.status()["steps"]
    assert [event["round"] for event in mixtures(run)] == [0, 1, 2, 3]
    assert sum(run.curator.verdicts.values()) > 20
    visits = Counter(item.exercise for item in trained(run) if item.weight)
    assert max(visits.values()) <= run.config.dynamics.cap


def test_by_default_nothing_is_held_out_and_nothing_mixed():
    run = World(small_config())
    run.run()
    assert not {event["event"] for event in run.events} & {"hold_out", "mixture", "evaluation"}
    assert run.curator.facts()["mixture"] == {}
    assert "mixing" not in run.curator.training_state()


def test_held_out_exercises_are_read_with_weight_zero_and_never_trained_or_judged():
    run = world("skill_it")
    run.run()
    held = {event["id"] for event in run.events if event["event"] == "hold_out"}
    assert len(held) == 4 * 6  # four of each of the six skills
    seen = [item for item in trained(run) if item.exercise in held]
    assert seen
    assert {item.weight for item in seen} == {0.0}
    assert not held & {event["exercise"] for event in run.events if event["event"] == "verdict"}
    assert not held & {answer for _, answer in run.curator.table.planted.values()}
    assert all(run.curator.facts()["exercises"][exercise]["visits"] == 0 for exercise in held)


def test_skill_it_follows_the_losses_of_the_held_out_exercises():
    run = world("skill_it", eta=3.0)
    run.run()
    evaluations = [event for event in run.events if event["event"] == "evaluation"]
    assert len(evaluations) >= 4
    last = mixtures(run)[-1]["shares"]
    losses = run.curator.mixing.facts()["evaluations"]
    assert losses[0]["round"] == 0
    assert sum(last.values()) == pytest.approx(1)
    assert last != mixtures(run)[0]["shares"]
    assert set(last) == {skill.id for skill in run.curator.supply.graph.skills}


def test_the_shares_of_a_round_are_what_is_trained():
    run = world("stratified")
    run.run()
    skills = Counter(
        run.curator.table.asked(item.exercise).skills[0] for item in trained(run) if item.exercise in run.curator.table
    )
    assert max(skills.values()) < 1.35 * min(skills.values())


def test_a_curriculum_begins_with_the_easiest_and_its_opposite_with_the_hardest():
    first = {}
    for sampler in ("curriculum", "anti_curriculum"):
        run = world(sampler)
        run.run()
        first[sampler] = mixtures(run)[0]["shares"]
    easy, hard = first["curriculum"], first["anti_curriculum"]
    assert easy["1"] > 0
    assert easy["3"] == 0
    assert hard["3"] > 0
    assert hard["1"] == 0


def test_out_of_domain_nothing_of_a_target_is_trained():
    run = world("skill_it", setting="out_of_domain", targets=["Integrals"])
    run.run()
    table = run.curator.table
    seen = {item.exercise for item in trained(run) if item.exercise in table} - table.held_out
    assert {item.weight for item in trained(run) if item.exercise in table.held_out} == {0.0}
    assert seen
    assert all("integrals" not in table.asked(exercise).skills for exercise in seen)
    assert "integrals" not in mixtures(run)[-1]["shares"]
    assert "derivatives" in mixtures(run)[-1]["shares"]


def test_a_target_that_the_graph_lacks_is_named():
    with pytest.raises(ValueError, match="no skill 'topology'"):
        world("skill_it", setting="finetuning", targets=["Topology"]).run()


def test_a_checkpoint_brings_the_mixture_back():
    run = world("skill_it")
    run.curator.start()
    attempt = run.curator.begin_attempt()
    for _ in range(60):
        run.write()
        run.train_step(attempt)
    state = unpack_state(pack_state(run.curator.training_state()))
    again = Curator(run.config, lambda event: None)
    again.restore_supply(run.events, run.written)
    again.restore_training(state)
    assert again.table.held_out == run.curator.table.held_out
    assert again.mixing.state_dict() == run.curator.mixing.state_dict()
    assert again.planner.probes == run.curator.planner.probes
    real = [exercise for exercise in run.curator.table.ids() if exercise in run.curator.sampler]
    assert {e: again.sampler.visits(e) for e in real} == {e: run.curator.sampler.visits(e) for e in real}
    before, after = run.curator.sampler.state_dict(), again.sampler.state_dict()
    assert (after["groups"], after["shares"]) == (before["groups"], before["shares"])


def test_without_a_checkpoint_the_held_out_stay_held_out():
    run = world("skill_it")
    run.curator.start()
    attempt = run.curator.begin_attempt()
    for _ in range(40):
        run.write()
        run.train_step(attempt)
    again = Curator(run.config, lambda event: None)
    again.restore_supply(run.events, run.written)
    again.restore_training(None)
    assert again.table.held_out == run.curator.table.held_out
    assert not any(exercise in again.sampler for exercise in again.table.held_out)
    assert again.mixing.facts()["evaluations"] == []


def test_a_group_curriculum_spends_its_budget_in_turn():
    phases = [group_phase(["a", "b"], progress, 0.0) for progress in (0.0, 0.24, 0.26, 0.49, 0.5, 0.99)]
    assert phases == [{"a": 1, "b": 0}] * 2 + [{"a": 0, "b": 1}] * 2 + [{"a": 1, "b": 1}] * 2
    assert group_phase(["a", "b"], 0.3, 0.4) == {"a": 0.4, "b": 1.0}
    assert group_phase(["a", "b"], 0.55, 0.4) == {"a": 1.0, "b": 1.0}  # (1 + 1.4) / 4.4


@pytest.mark.parametrize(
    ("curriculum", "told"),
    [
        ({"eta": 0.2}, "curriculum.eta: has no effect"),
        ({"sampler": "skill_it", "targets": ["x"]}, "curriculum.targets: belongs to"),
        ({"sampler": "skill_it", "setting": "finetuning"}, "curriculum.setting: finetuning needs skills"),
        ({"sampler": "skill_it", "rounds": 40}, "curriculum.rounds: 40 rounds of 2"),
    ],
)
def test_combinations_that_cannot_be_are_refused_at_load(curriculum, told):
    with pytest.raises(ConfigError, match=told):
        small_config(curriculum=curriculum)


def test_negative_and_missing_weights_of_a_graph_are_counted_and_no_edges():
    run = world("skill_it")
    run.curator.start()
    attempt = run.curator.begin_attempt()
    while run.curator.supply.graph is None:
        run.write()
    graph = run.curator.supply.graph
    odd = iter((float("nan"), -0.5, 0.25))
    edges = tuple(dataclasses.replace(edge, transfer=next(odd, None)) for edge in graph.edges)
    run.curator.supply.graph = dataclasses.replace(graph, edges=edges)
    while not mixtures(run):
        run.write()
        run.train_step(attempt)
    assert run.curator.mixing.facts()["counts"] == {"missing_weight": 1, "negative_weight": 1}
    assert all(share > 0 for share in mixtures(run)[0]["shares"].values())


def alone(**curriculum) -> tuple[Mixing, list[dict]]:
    """A mixture over three skills, by hand."""
    events: list[dict] = []
    config = small_config(curriculum={"sampler": "skill_it", "rounds": 4, "evaluations": 1, **curriculum})
    return Mixing(config, lambda: a_graph("a>b", "b>calculus"), lambda: {}, events.append), events


def test_targets_are_found_in_whatever_spelling_they_are_written():
    mixing, _ = alone(setting="out_of_domain", targets=["The calculus", "AS"])
    assert [mixing.trains(request("calculus")), mixing.trains(request("b"))] == [False, True]
    assert not mixing.trains(request("a", "as"))


def request(*skills: str) -> ExerciseRequest:
    return ExerciseRequest(id=1, kind=Kind.EXERCISE, skills=skills)


def test_a_skill_without_held_out_exercises_counts_as_the_mean_of_the_others():
    mixing, events = alone()
    mixing.hold_out(1, "a")
    mixing.hold_out(2, "a")
    mixing.hold_out(3, "b")
    mixing.shares(0)
    assert sorted(mixing.due(0, waiting=False)) == [(1, 1), (2, 1), (3, 1)]
    for exercise, loss in ((1, 1.0), (2, 2.0), (3, 0.5)):
        mixing.observe(1, exercise, loss)
    assert mixing.facts()["evaluations"] == [{"round": 0, "losses": [1.5, 0.5, 1.0]}]
    assert mixing.facts()["counts"] == {"skill_without_losses": 1}
    assert events[-1]["losses"] == {"a": 1.5, "b": 0.5}


def test_without_any_held_out_exercise_the_first_mixture_stays():
    mixing, _ = alone()
    first = mixing.shares(0)
    assert mixing.due(0, waiting=False) == []
    assert mixing.shares(30) == first


def test_an_evaluation_that_comes_too_early_is_left_out_and_counted():
    mixing, _ = alone()
    mixing.hold_out(1, "a")
    assert mixing.due(0, waiting=False)
    assert mixing.due(1, waiting=False) == []
    assert mixing.due(15, waiting=True) == []
    assert mixing.due(30, waiting=False) == [(1, 2)]
    assert mixing.facts()["counts"] == {"evaluation_left_out": 1}


def test_a_loss_that_nobody_asked_for_changes_nothing():
    mixing, _ = alone()
    mixing.hold_out(1, "a")
    mixing.due(0, waiting=False)
    before = mixing.state_dict()
    mixing.observe(7, 1, 1.0)
    mixing.observe(1, 99, 1.0)
    assert mixing.state_dict() == before


def test_refitted_weights_change_the_mixture_and_are_the_rounds_own():
    runs = [world("skill_it", evaluations=1, refit=strength) for strength in (0.0, 5.0)]
    for run in runs:
        run.run()
    plain, refit = (mixtures(run) for run in runs)
    assert refit[0]["shares"] == plain[0]["shares"]
    assert refit[-1]["shares"] != plain[-1]["shares"]
    assert sum(refit[-1]["shares"].values()) == pytest.approx(1)
