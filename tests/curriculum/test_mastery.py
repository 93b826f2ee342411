from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.mastery import Mastery
from dsa_ray.records import Edge, Skill, SkillGraph, VerdictClass
from dsa_ray.skills.graph import build
from tests.curriculum.simulation import World, small_config

EASY, HARD = VerdictClass.EASY, VerdictClass.HARD


def graph() -> SkillGraph:
    skills = [Skill(id=name, name=name) for name in ("a", "b", "c")]
    return build("c", skills, [Edge(prerequisite="a", skill="b"), Edge(prerequisite="b", skill="c")])


def test_an_exercise_counts_at_the_highest_level_of_its_skills() -> None:
    mastery, known = Mastery(), graph()
    judged = [(("a",), EASY), (("a", "b"), HARD), (("b",), EASY)]
    assert mastery.by_level(known, lambda: judged) == {0: 1.0, 1: 0.5}


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(VerdictClass))), max_size=40))
def test_counting_as_verdicts_come_gives_what_counting_anew_gives(stream: list[tuple[int, VerdictClass]]) -> None:
    known, following, newest = graph(), Mastery(), {}
    skills = [("a",), ("b",), ("c",), ("a", "b"), ("b", "c"), ("gone",)]
    following.by_level(known, lambda: [])
    for exercise, verdict in stream:
        following.replace(skills[exercise], newest.get(exercise), verdict)
        newest[exercise] = verdict

    def judged() -> list[tuple[tuple[str, ...], VerdictClass]]:
        return [(skills[exercise], verdict) for exercise, verdict in newest.items()]

    assert following.by_level(known, lambda: []) == Mastery().by_level(known, judged)


def test_the_curators_mastery_follows_its_verdicts_and_a_return_to_a_checkpoint() -> None:
    world = World(small_config())
    world.run()
    curator = world.curator
    now = curator.status()["mastery"]
    assert now
    assert all(0 <= share <= 1 for share in now.values())
    state = curator.training_state()
    curator.restore_training(state)
    assert curator.status()["mastery"] == now
    curator.restore_training(None)
    assert curator.status()["mastery"] == {}
