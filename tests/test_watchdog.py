import pytest

from dsa_ray.watchdog import Stalled, Watchdog


def watch(statuses: list[dict], every_s: float = 10.0, stall_s: float = 25.0, start_s: float = 0.0) -> list[str]:
    now = [0.0]
    dog = Watchdog(stall_s, start_s, clock=lambda: now[0])
    warnings = []
    for status in statuses:
        now[0] += every_s
        warnings.append(dog.look(status))
    return warnings


def test_any_count_that_moves_is_progress():
    watch([{"phase": "exercises", "step": step} for step in range(10)])
    watch([{"phase": "writing", "step": 0, "written": written} for written in range(10)])


@pytest.mark.parametrize(
    ("status", "named"),
    [
        ({"phase": "exercises", "step": 7, "steps": 60, "open_rows": 4, "outstanding": 9}, "trainer holds 4 rows"),
        ({"phase": "graph", "outstanding": 3, "oldest_request_s": 40.0}, "teacher holds 3 requests, the oldest for 40"),
        ({"phase": "writing", "queue_depth": 12}, "12 requests wait and no teacher replica takes them"),
        ({"phase": "exercises", "step": 3, "steps": 9}, "nothing is requested and nothing can be trained on"),
    ],
)
def test_a_stall_names_who_holds_what(status: dict, named: str):
    with pytest.raises(Stalled, match=named):
        watch([status] * 5)


def training(step: int, written: int, **more: int) -> dict:
    return {"phase": "exercises", "step": step, "steps": 60, "written": written, "open_rows": 4, "attempt": 1, **more}


def test_a_trainer_that_stands_still_is_named_although_texts_are_written():
    with pytest.raises(Stalled, match=r"no step for .* the trainer holds 4 rows"):
        watch([training(7, 0), *(training(8, written) for written in range(10))])


def test_the_first_step_of_an_attempt_may_take_as_long_as_an_engine_s_start():
    slow = [training(7, written) for written in range(6)]
    assert watch(slow, start_s=60.0) == [""] * 6
    with pytest.raises(Stalled, match="no step"):
        watch([*slow, *(training(7, written) for written in range(6, 20))], start_s=60.0)


def test_a_trainer_without_rows_is_not_to_blame():
    idle = [training(7, written) | {"open_rows": 0} for written in range(10)]
    assert watch(idle) == [""] * 10


def test_a_teacher_that_stands_still_is_a_warning_while_steps_are_taken():
    warnings = watch([training(step, 5, outstanding=3, oldest_request_s=40) for step in range(6)])
    assert warnings[0] == ""
    assert "the teacher holds 3 requests" in warnings[-1]
    assert "training goes on" in warnings[-1]


def test_an_exam_that_is_not_answered_names_the_student():
    with pytest.raises(Stalled, match="student's replica"):
        watch([{"phase": "exam", "step": 60, "steps": 60, "exam": 1}] * 5)
