from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.ladders.ladder import Ask, Attempt, End, Feedback, Ladder, Reply, Shape, Stage, Task

from .builders import climb, posed, right, told, wrong

SHAPE = Shape(generalized=2, harder=2, refinements=2, attempts=2)


def ends(ladder: Ladder) -> list[End | None]:
    return [rung.end for rung in ladder.rungs]


def test_a_student_who_is_right_climbs_every_rung_without_a_hint() -> None:
    ladder = climb(SHAPE, lambda ask: right())
    assert ends(ladder) == [End.ACCEPTED] * 5
    assert [rung.stage for rung in ladder.rungs] == [Stage.BASIC, *[Stage.GENERALIZED] * 2, *[Stage.HARDER] * 2]
    assert ladder.counts()["hints"] == 0


def test_a_wrong_answer_gets_a_hint_and_is_refined_until_it_is_right() -> None:
    ladder = climb(SHAPE, lambda ask: right() if ask.turn == 2 else wrong())
    assert ends(ladder) == [End.ACCEPTED] * 5
    assert [len(rung.attempts) for rung in ladder.rungs] == [3] * 5
    assert [len(rung.feedback) for rung in ladder.rungs] == [2] * 5
    assert ladder.counts()["refined"] == 5


def test_a_student_who_is_always_wrong_ends_after_its_refinements_and_climbs_nothing_harder() -> None:
    ladder = climb(SHAPE, lambda ask: wrong())
    assert ends(ladder) == [End.FAILED, End.FAILED, End.FAILED, End.CLOSED, End.CLOSED]
    assert ladder.counts()["answers"] == 3 * 3
    assert ladder.counts()["hints"] == 3 * 2


def test_the_chain_of_harder_questions_ends_above_the_one_that_failed() -> None:
    ladder = climb(Shape(harder=3), lambda ask: wrong() if ask.rung == 4 else right())
    assert ends(ladder) == [End.ACCEPTED, End.ACCEPTED, End.ACCEPTED, End.ACCEPTED, End.FAILED, End.CLOSED]


def test_generalized_questions_are_asked_side_by_side_and_harder_ones_one_after_the_other() -> None:
    ladder = Ladder.start(1, posed(), SHAPE)
    assert ladder.asks() == [Ask(rung=0, task=Task.ANSWER)]
    ladder.take(ladder.asks()[0], right())
    assert ladder.asks() == [Ask(rung=1, task=Task.QUESTION), Ask(rung=2, task=Task.QUESTION)]
    for rung in (2, 1):
        ladder.take(Ask(rung=rung, task=Task.QUESTION), posed(f"rung {rung}?"))
        ladder.take(Ask(rung=rung, task=Task.ANSWER), right())
    assert ladder.asks() == [Ask(rung=3, task=Task.QUESTION)]
    assert ladder.parent_of(3).exercise.question == "What is 2+3?"
    ladder.take(ladder.asks()[0], posed("harder?"))
    ladder.take(ladder.asks()[0], right())
    assert ladder.parent_of(4).exercise.question == "harder?"


def test_where_no_checker_can_tell_the_teacher_says_whether_it_is_right() -> None:
    unknown = Attempt(text="Because it is continuous.", version="s", right=None)
    ladder = Ladder.start(1, posed(), Shape(generalized=0, harder=0, refinements=1))
    ladder.take(ladder.asks()[0], unknown)
    assert ladder.asks()[0].task is Task.HINT
    ladder.take(ladder.asks()[0], Feedback(text="Say why.", version="t", right=False))
    ladder.take(ladder.asks()[0], unknown)
    ladder.take(ladder.asks()[0], Feedback(text="Good.", version="t", right=True))
    assert ends(ladder) == [End.ACCEPTED]
    assert [attempt.right for attempt in ladder.rungs[0].attempts] == [False, True]
    assert len(ladder.rungs[0].feedback) == 1


def test_what_the_teacher_cannot_write_is_lost_after_its_attempts() -> None:
    ladder = Ladder.start(1, posed(), Shape(generalized=1, harder=1, attempts=2))
    ladder.take(ladder.asks()[0], right())
    ladder.take(ladder.asks()[0], None)
    assert ladder.asks() == [Ask(rung=1, task=Task.QUESTION, attempt=1)]
    ladder.take(ladder.asks()[0], None)
    assert ladder.rungs[1].end is End.LOST
    assert ladder.asks() == [Ask(rung=2, task=Task.QUESTION)]


def test_a_reply_that_comes_twice_or_too_late_changes_nothing() -> None:
    ladder = Ladder.start(1, posed(), SHAPE)
    ask = ladder.asks()[0]
    assert ladder.take(ask, wrong())
    before = ladder.state_dict()
    assert not ladder.take(ask, right())
    assert ladder.state_dict() == {**before, "ignored": 1}


def test_a_reply_of_another_kind_breaks_the_contract() -> None:
    ladder = Ladder.start(1, posed(), SHAPE)
    with pytest.raises(TypeError, match="answer was asked for, not Feedback"):
        ladder.take(ladder.asks()[0], told())


replies = st.sampled_from(["right", "wrong", "unknown", "none"])


def scripted(ask: Ask, word: str) -> Reply:
    if word == "none":
        return None
    if ask.task is Task.QUESTION:
        return posed(f"rung {ask.rung}?")
    if ask.task is Task.HINT:
        return Feedback(text="look", version="t", right=word == "right")
    return {"right": right(), "wrong": wrong(), "unknown": Attempt(text="?", version="s", right=None)}[word]


@given(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 3)), replies), st.randoms(use_true_random=False))
def test_any_replies_in_any_order_come_to_the_same_end_also_through_a_saved_state(script: dict, order) -> None:
    def word(ask: Ask) -> str:
        return script.get((ask.rung, ask.turn), "wrong")

    one, other = Ladder.start(1, posed(), SHAPE), Ladder.start(1, posed(), SHAPE)
    for _ in range(5 * 2 * (1 + 2 * 3)):
        if asks := one.asks():
            one.take(asks[0], scripted(asks[0], word(asks[0])))
        if asks := other.asks():
            ask = order.choice(asks)
            other.take(ask, scripted(ask, word(ask)))
            other = Ladder.from_state_dict(json.loads(json.dumps(other.state_dict())))
    assert one.over
    assert one.state_dict() == other.state_dict()
    assert sum(one.counts()[end] for end in End) == len(one.rungs)
