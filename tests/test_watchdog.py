import pytest

from dsa_ray.watchdog import Stalled, Watchdog


def watch(statuses: list[dict], every_s: float = 10.0, stall_s: float = 25.0) -> None:
    now = [0.0]
    dog = Watchdog(stall_s, clock=lambda: now[0])
    for status in statuses:
        now[0] += every_s
        dog.look(status)


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
