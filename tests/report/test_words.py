import pytest

from dsa_ray.report import words


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (950, "950"), (8676, "8,676"), (12_400, "12.4 k"), (999_999, "1.0 M"), (3.1e9, "3.1 G")],
)
def test_large_numbers_are_short(value: float | None, shown: str) -> None:
    assert words.short(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (4.25, "4.2 s"), (59.7, "1 min 00 s"), (125, "2 min 05 s"), (4020, "1 h 07 min")],
)
def test_durations_use_the_unit_that_fits(seconds: float | None, shown: str) -> None:
    assert words.duration(seconds) == shown


def test_counts_name_the_most_frequent_first() -> None:
    assert words.counts({"a": 1, "c": 2, "b": 2}) == "b 2, c 2, a 1"
