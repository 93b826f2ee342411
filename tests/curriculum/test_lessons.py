import numpy as np

from dsa_ray.curriculum.lessons import Lessons
from dsa_ray.records import Edge, Session, Skill
from dsa_ray.sections import GenerateConfig
from dsa_ray.skills.graph import briefs, build
from tests.skills.builders import a_graph

GRAPH = a_graph("a>b", "b>calculus", "c>calculus", "d>c", "e>c")


def lessons(graph=GRAPH, **config) -> Lessons:
    return Lessons(graph, briefs(graph), GenerateConfig(**config), {"a"}, seed=3)


def test_partners_are_those_that_a_draw_from_the_list_of_their_names_gives() -> None:
    made = lessons(skills_per_exercise=(1, 2, 3))
    for place, skill in enumerate(GRAPH.skills):
        for number in range(20):
            rng = np.random.default_rng((3, number, place))
            count = int(rng.choice((1, 2, 3)))
            others = [other.id for other in GRAPH.skills if other.level <= skill.level and other.id != skill.id]
            partners = rng.choice(others, size=min(count - 1, len(others)), replace=False)
            assert made.order(skill.id, number).skills == (skill.id, *map(str, partners))


def test_elementary_skills_are_practised_by_their_share_and_not_taught() -> None:
    made = lessons(replay=0.5)
    assert "a" not in made.taught
    assert [(("a", 0) in made.practised(number)) for number in range(4)] == [False, True, False, True]


def test_elementary_skills_may_be_practised_more_than_those_that_are_taught():
    made = lessons(replay=2.5)
    rounds = [[skill for skill, _ in made.practised(number)] for number in range(4)]
    assert [skills.count("a") for skills in rounds] == [2, 3, 2, 3]
    assert all(skills.count(skill) == 1 for skills in rounds for skill in made.taught)
    assert len(set(made.practised(1))) == len(made.practised(1))


def test_a_subject_is_practised_on_its_syllabus_and_a_group_not_at_all() -> None:
    sessions = tuple(Session(name=f"s{n}", concepts=("x", "y", "z")) for n in range(4))
    skills = [
        Skill(id="all", name="All", group=True),
        Skill(id="algebra", name="Algebra", sessions=sessions),
        Skill(id="logic", name="Logic"),
    ]
    graph = build("all", skills, [Edge(prerequisite=skill, skill="all") for skill in ("algebra", "logic")])
    made = lessons(graph, two_sessions=0.5)
    assert made.taught == ("algebra", "logic")
    orders = [made.order("algebra", number) for number in range(200)]
    assert all(order.skills == ("algebra",) and order.concepts for order in orders)
    two = sum(len({session for session, _ in order.concepts}) == 2 for order in orders)
    assert 70 < two < 130
    assert not made.order("logic", 0).concepts
