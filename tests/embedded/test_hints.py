import json
from random import Random

import pytest

from dsa_ray.embedded import compose, hints, syllabus
from dsa_ray.embedded.writers import write
from dsa_ray.generation.parse import parse
from dsa_ray.ladders.judging import gives_away
from dsa_ray.records import Assignment, Exercise, ExerciseRequest, Hint, Kind, SkillBrief, Written
from tests.generation.conftest import make_completion

SKILLS = [skill.id for skill in syllabus.load().skills]


def asked(exercise: Exercise, attempts: tuple[str, ...], told: tuple[str, ...] = ()) -> dict:
    request = ExerciseRequest(id=3, kind=Kind.HINT, skills=exercise.skills)
    parent = Written(
        request=request, item=exercise, generator="", generator_version="", prompt_version="", content_hash=0
    )
    briefs = tuple(SkillBrief(id=skill, name=skill) for skill in exercise.skills)
    return write(Assignment(request=request, skills=briefs, attempts=attempts, hints=told), (parent,))


def test_a_hint_shows_one_step_more_each_time_and_never_what_the_last_one_comes_to():
    steps = ["43-7=36", "36/4=9"]
    assert [hints.hint(steps, number) for number in range(3)] == [
        "Work out 43-7.",
        "43-7=36, then work out 36/4.",
        "43-7=36, then work out 36/4.",
    ]
    assert hints.hint([], 0)


@pytest.mark.parametrize("skill", SKILLS)
def test_exact_hints_seldom_hold_the_answer(skill: str):
    rng = Random(5)
    away = 0
    for number in range(40):
        problem = compose.exercise(rng, [skill], 1 + number % 3)
        steps = hints.steps_of(problem.question)
        assert ", ".join(steps) == problem.solution or not problem.solution
        exercise = Exercise(
            skills=(skill,), question=problem.question, solution=problem.solution, answer=problem.answer
        )
        away += gives_away(exercise, hints.hint(steps, number % 2))
    assert away <= 10  # an intermediate result may happen to be the final one


def test_the_exact_writer_judges_the_last_answer_and_hints_at_the_next_step():
    exercise = Exercise(
        skills=("linear-equations",),
        question="For which x is 4x+7=43?",
        solution="43-7=36, 36/4=9",
        answer="x=9",
    )
    assert asked(exercise, ("Answer: x=8",)) == {"hint": "Work out 43-7.", "right": False}
    assert asked(exercise, ("Answer: x=8", "Answer: x=9"), ("Work out 43-7.",)) == {
        "hint": "43-7=36, then work out 36/4.",
        "right": True,
    }


def test_a_question_that_no_family_reads_is_hinted_at_from_its_own_solution():
    exercise = Exercise(skills=("riddles",), question="What has keys?", solution="Think of music.", answer="a piano")
    assert asked(exercise, ("Answer: a door",)) == {"hint": "Work out Think of music.", "right": False}


def test_what_the_exact_writer_says_can_be_parsed():
    exercise = Exercise(skills=("addition",), question="What is 15+22?", solution="15+22=37", answer="37")
    text = json.dumps(asked(exercise, ("Answer: 36",)))
    assert parse(make_completion(text, Kind.HINT)) == Hint(hint="Work out 15+20.", right=False)
