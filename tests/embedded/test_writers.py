import pytest

from dsa_ray.embedded import compose, syllabus
from dsa_ray.embedded.writers import write
from dsa_ray.records import EXERCISE_KINDS, Assignment, ExerciseRequest, Kind, SkillBrief
from dsa_ray.skills.names import normalise


def assignment(kind: Kind, *names: str, difficulty: int = 2, seed: int = 0) -> Assignment:
    briefs = tuple(SkillBrief(id=normalise(name), name=name) for name in names)
    request = ExerciseRequest(
        id=7, kind=kind, skills=tuple(brief.id for brief in briefs), difficulty=difficulty, seed=seed
    )
    return Assignment(request=request, skills=briefs)


@pytest.mark.parametrize("kind", sorted(EXERCISE_KINDS))
def test_exercises_of_every_kind_are_right(kind: Kind):
    for seed in range(30):
        item = write(assignment(kind, "Chain rule", "Like terms", seed=seed))
        assert set(item) == {"question", "solution", "answer"}
        assert compose.solve(item["question"]) == item["answer"]


def test_the_same_request_gets_the_same_answer_and_another_seed_another():
    one = assignment(Kind.EXERCISE, "Chain rule")
    assert write(one) == write(one)
    assert len({write(assignment(Kind.EXERCISE, "Chain rule", seed=seed))["question"] for seed in range(40)}) > 20


def test_prerequisites_carry_descriptions_and_elementary_skills_have_none():
    needed = write(assignment(Kind.PREREQUISITES, "chain rule"))["prerequisites"]
    assert [entry["name"] for entry in needed] == ["Derivative of a polynomial", "Composed functions"]
    assert all(entry["description"] for entry in needed)
    assert write(assignment(Kind.PREREQUISITES, "Addition"))["prerequisites"] == []


def test_a_field_is_practised_by_the_skills_below_it():
    item = write(assignment(Kind.EXERCISE, "differential calculus"))
    assert compose.solve(item["question"]) == item["answer"]


def test_a_textbook_page_names_prerequisites_rule_and_worked_examples():
    text = write(assignment(Kind.TEXTBOOK, "Product rule"))["text"]
    skill = syllabus.load().skill("product-rule")
    for piece in (skill.name, skill.description, skill.rule, *skill.needs, "Example 3", "Homework"):
        assert piece in text
