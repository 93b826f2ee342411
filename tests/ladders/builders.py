"""Exercises, and a ladder climbed by a script."""

from collections.abc import Callable

from dsa_ray.ladders.ladder import Ask, Attempt, Feedback, Ladder, Posed, Reply, Shape, Task
from dsa_ray.records import Exercise


def exercise(question: str = "What is 2+3?", answer: str = "5", solution: str = "2+3=5") -> Exercise:
    return Exercise(skills=("addition",), question=question, solution=solution, answer=answer)


def posed(question: str = "What is 2+3?") -> Posed:
    return Posed(exercise=exercise(question), version="teacher@0")


def right(text: str = "2+3=5\nAnswer: 5") -> Attempt:
    return Attempt(text=text, version="student@1", right=True)


def wrong(text: str = "Answer: 4") -> Attempt:
    return Attempt(text=text, version="student@1", right=False)


def told(text: str = "Work out 2+3.", gives_away: bool = False) -> Feedback:
    return Feedback(text=text, version="teacher@0", gives_away=gives_away)


def climb(shape: Shape, answers: Callable[[Ask], Reply], most: int = 200) -> Ladder:
    """A ladder whose student answers as `answers` says; questions and hints are written by rote."""
    ladder = Ladder.start(7, posed("basic?"), shape)
    for _ in range(most):
        asks = ladder.asks()
        if not asks:
            return ladder
        ladder.take(asks[0], reply(asks[0], answers))
    raise AssertionError("the ladder does not end")


def reply(ask: Ask, answers: Callable[[Ask], Reply]) -> Reply:
    if ask.task is Task.QUESTION:
        return posed(f"rung {ask.rung}?")
    return told() if ask.task is Task.HINT else answers(ask)
