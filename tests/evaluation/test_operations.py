import re

from dsa_ray.evaluation.operations import OPERATIONS, operations

ASKED = re.compile(
    r"A new operation is defined by a (\S+) b = (.+)\. What is (?:\((\d) \1 (\d)\) \1 (\d)|(\d) \1 (\d))\?"
)


def value(formula: str, a: int, b: int) -> int:
    """The formula by Python's own arithmetic: the questions are ours, not a model's."""
    return eval(formula.replace("^", "**"), {"__builtins__": {}}, {"a": a, "b": b})


def test_two_hundred_different_operations_are_asked_for_with_right_answers() -> None:
    questions = operations()
    assert len(questions) == OPERATIONS == 200
    formulas, nested = set(), 0
    for question in questions:
        match = ASKED.fullmatch(question.question)
        assert match, question
        formula, first, second, third, a, b = match.groups()[1:]
        formulas.add(formula)
        nested += first is not None
        left = value(formula, int(first), int(second)) if first else int(a)
        assert question.answer == str(value(formula, left, int(third or b)))
    assert len(formulas) == 200
    assert nested == 50


def test_the_same_seed_gives_the_same_questions_and_another_others() -> None:
    assert operations(20, seed=1) == operations(200, seed=1)[:20]
    assert operations(20, seed=1) != operations(20, seed=2)
