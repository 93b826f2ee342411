from dsa_ray.curriculum.clock import SteadyClock


def seen(*told: float, leap_s: float = 60.0) -> tuple[list[float], int]:
    """What the clock shows, from zero, when the one below it tells these."""
    left = [told[0], *told]
    clock = SteadyClock(lambda: left.pop(0), leap_s)
    return [clock() - told[0] for _ in told], clock.jumps


def test_time_passes_as_it_is_told():
    assert seen(100.0, 101.0, 150.0) == ([0.0, 1.0, 50.0], 0)


def test_time_that_runs_backwards_stands_still_and_then_goes_on():
    assert seen(100.0, 110.0, 20.0, 25.0) == ([0.0, 10.0, 10.0, 15.0], 1)


def test_a_leap_counts_no_more_than_the_longest_that_may_pass_unseen():
    assert seen(0.0, 10.0, 1e9, 1e9 + 5.0) == ([0.0, 10.0, 70.0, 75.0], 1)
