from collections import Counter
from random import Random

from dsa_ray.embedded import compose, syllabus
from dsa_ray.embedded.exam import exam, on_graph
from dsa_ray.embedded.partition import draw
from dsa_ray.evaluation.exam import Question
from tests.skills.builders import a_graph


def test_the_exam_is_the_same_for_the_same_seed_and_has_every_skill():
    questions = exam(12, seed=3)
    assert questions == exam(12, seed=3) != exam(12, seed=4)
    counts = Counter(question.skill for question in questions)
    assert set(counts) == {skill.id for skill in syllabus.load().skills}
    assert min(counts.values()) >= 10
    assert len({question.question for question in questions}) == len(questions)


def test_exam_answers_are_exact_and_every_question_is_held_out():
    for question in exam(12):
        assert compose.solve(question.question) == question.answer
        assert compose.contains_held_out(question.question)


def test_training_never_meets_an_exam_question():
    asked = {question.question for question in exam(20)}
    rng = Random(0)
    for skill in syllabus.load().skills:
        for _ in range(200):
            problem = compose.exercise(rng, [skill.id], rng.randint(1, 5))
            assert problem.question not in asked


def test_both_sides_of_the_split_are_populated_at_every_difficulty():
    rng = Random(0)
    for skill in syllabus.load().skills:
        for difficulty in range(1, 6):
            draw(rng, skill.id, difficulty, for_exam=True)
            draw(rng, skill.id, difficulty)


def test_questions_are_those_on_skills_of_the_graph_in_whatever_spelling():
    graph = a_graph("limits>calculus")
    skills = ("The limit", "limits", "Calculus", "Sums")
    questions = [Question(skill=skill, question="?", answer="1") for skill in skills]
    assert [question.skill for question in on_graph(questions, graph)] == ["limits", "limits", "calculus"]
    assert [question.skill for question in on_graph(questions, graph, others=True)][3:] == ["Sums"]
