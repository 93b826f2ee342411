from dsa_ray.actors.answering import Answering


def test_one_that_answered_and_then_falls_silent_is_named_once():
    now = [0.0]
    answering = Answering(10.0, clock=lambda: now[0])
    assert answering.look(["a", "b"], []) == []
    now[0] = 9.0
    assert answering.look(["b"], ["a"]) == []
    now[0] = 11.0
    assert answering.look(["b"], ["a"]) == ["a"]
    now[0] = 30.0
    assert answering.look(["b"], ["a"]) == []


def test_one_that_never_answered_is_still_starting():
    now = [0.0]
    answering = Answering(10.0, clock=lambda: now[0])
    for now[0] in (0.0, 50.0, 500.0):
        assert answering.look([], ["a"]) == []


def test_one_that_died_starts_anew():
    now = [0.0]
    answering = Answering(10.0, clock=lambda: now[0])
    answering.look(["a"], [])
    answering.forget("a")
    now[0] = 100.0
    assert answering.look([], ["a"]) == []
