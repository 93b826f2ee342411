from dsa_ray.actors.answering import Answering


def test_one_that_answered_and_then_leaves_a_question_open_is_named_once():
    answering = Answering(10.0)
    assert answering.look(["a", "b"], {}) == []
    assert answering.look(["b"], {"a": 9.0}) == []
    assert answering.look(["b"], {"a": 11.0}) == ["a"]
    assert answering.look(["b"], {"a": 30.0}) == []


def test_one_that_was_not_asked_for_long_is_not_silent():
    answering = Answering(10.0)
    answering.look(["a"], {})
    assert answering.look([], {"a": 1.0}) == []


def test_one_that_never_answered_is_still_starting():
    answering = Answering(10.0)
    assert [answering.look([], {"a": seconds}) for seconds in (0.0, 50.0, 500.0)] == [[], [], []]


def test_one_that_died_starts_anew():
    answering = Answering(10.0)
    answering.look(["a"], {})
    answering.forget("a")
    assert answering.look([], {"a": 100.0}) == []
