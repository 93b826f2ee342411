from collections.abc import Callable, Sequence

import pytest

from dsa_ray.actors.starting import NeverStarted, Starts
from dsa_ray.config import parse

NOTHING: Callable[[Sequence[str]], Sequence[str]] = lambda calls: ()  # noqa: E731 (none has ended)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def starts(clock: Clock) -> Starts:
    data = {
        "run": {"name": "r"},
        "graph": {"target": "t"},
        "watch": {"engine_start_s": 30.0},
        "cluster": {"placement_timeout_s": 10.0},
    }
    return Starts(parse(data), clock)


def test_a_start_goes_on_until_it_has_ended() -> None:
    begun = starts(Clock())
    assert not begun.going_on
    begun.begin("teacher-0", "first")
    begun.begin("student", "second")
    assert begun.take(NOTHING) == ()
    assert begun.take(lambda calls: calls[:1]) == ["first"]
    assert begun.going_on
    assert begun.take(lambda calls: calls) == ["second"]
    assert not begun.going_on


def test_one_that_is_needed_and_never_begins_ends_the_wait_by_name() -> None:
    clock = Clock()
    begun = starts(clock)
    begun.begin("student", "call")
    clock.now = 40.0
    assert begun.take(NOTHING) == ()
    clock.now = 40.1
    with pytest.raises(NeverStarted, match=r"student has not started within 40 s .*no node has room"):
        begun.take(NOTHING)


def test_one_that_the_run_does_without_is_a_warning_and_holds_nobody_up() -> None:
    clock = Clock()
    begun = starts(clock)
    begun.begin("teacher-0", "first", needed=False)
    assert begun.notes() == []
    clock.now = 41.0
    begun.begin("teacher-1", "second", needed=False)
    assert begun.take(NOTHING) == ()
    assert [note.split()[0] for note in begun.notes()] == ["teacher-0"]
    assert begun.going_on  # the other one
    begun.take(lambda calls: ["first"])
    assert begun.notes() == []
