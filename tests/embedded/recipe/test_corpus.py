import json
from itertools import islice
from random import Random

from dsa_ray.embedded import compose, syllabus
from dsa_ray.embedded.recipe.corpus import (
    KIND_SHARES,
    constant_texts,
    prompted_examples,
    replay_examples,
    student_examples,
    teacher_examples,
)
from dsa_ray.records import EXERCISE_KINDS, Kind


def test_the_teacher_reads_every_kind_with_exact_json_answers():
    examples = list(islice(prompted_examples(Random(0)), 400))
    assert {example.kind for example in examples} == set(KIND_SHARES)
    for example in examples:
        item = json.loads(example.answer)
        if example.kind in EXERCISE_KINDS:
            assert compose.solve(item["question"]) == item["answer"]


def test_the_teacher_never_reads_the_held_out_target():
    words = set(syllabus.load().held_out.split()) - {"of"}
    for example in islice(prompted_examples(Random(1)), 2000):
        if example.kind == Kind.PREREQUISITES:
            asked = example.prompt[-1]["content"].lower()
            assert not any(f" {word} " in f" {asked.splitlines()[1]} " for word in words)


def test_the_base_student_reads_no_answer_to_a_taught_question():
    elementary = {skill.id for skill in syllabus.load().elementary}
    for example in islice(student_examples(Random(0)), 500):
        if example.kind == "elementary":
            question = example.prompt[-1]["content"].splitlines()[0]
            assert all(part.skill in elementary for part in compose.understood(question))
        if example.kind == "page":
            assert "Answer" not in example.answer


def test_constant_lines_of_the_prompts_are_found_and_variable_ones_are_not():
    constants = constant_texts()
    assert "Write one exercise.\n" in constants
    assert not any("Skill:" in text for text in constants)


def test_the_teacher_first_learns_to_solve_and_then_to_write():
    examples = islice(teacher_examples(Random(0)), 300)
    kinds = [example.kind for example in examples]
    assert kinds.count("lesson") > 150
    assert len(set(kinds)) > 4


def test_replay_is_exact_elementary_and_read_beside_everything_else():
    elementary = {skill.id for skill in syllabus.load().elementary}
    examples = list(islice(replay_examples(Random(0)), 400))
    replay = [json.loads(example.answer) for example in examples if example.kind == "replay"]
    assert 110 < len(replay) < 170
    for item in replay:
        parts = list(compose.understood(item["question"]))
        assert {part.skill for part in parts} <= elementary
        assert compose.solve(item["question"]) == item["answer"]
    assert {example.kind for example in examples} > {"sums", *KIND_SHARES}
