import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsa_ray.report.charts import svg

finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_text_and_attributes_are_escaped_once() -> None:
    made = str(svg.group(svg.text(0, 0, "<b>&"), data_tip='say "x" <y>'))
    assert ">&lt;b&gt;&amp;</text>" in made
    assert 'data-tip="say &#34;x&#34; &lt;y&gt;"' in made


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-3, 8, [-2, 0, 2, 4, 6, 8])],
)
def test_ticks_are_round_numbers_inside_the_scale(low: float, high: float, ticks: list[float]) -> None:
    assert svg.Scale(low, high, 0, 100).ticks() == pytest.approx(ticks)


@given(st.lists(finite, max_size=20), st.booleans())
@example([0.0, 5e-324], False)
@example([0.0, 5e-324], True)
def test_a_scale_of_any_values_maps_into_its_pixels(values: list[float], zero: bool) -> None:
    made = svg.scale([abs(value) for value in values] if zero else values, 0, 100, zero)
    assert made.high > made.low
    assert 1 <= len(made.ticks()) <= 14
    for value in values:
        assert -1e-6 <= made.clamp(value) <= 100 + 1e-6


@given(st.lists(st.tuples(finite, st.floats(1, 50)), min_size=1, max_size=30))
def test_spread_leaves_room_and_keeps_the_order(wished: list[tuple[float, float]]) -> None:
    sizes = [size for _, size in wished]
    places = svg.spread([place for place, _ in wished], sizes)
    for (a, b), (first, second) in zip(pairwise(places), pairwise(sizes), strict=True):
        assert b - a >= (first + second) / 2 - 1e-6 * max(1, abs(a), abs(b))


def test_spread_moves_nothing_that_has_room() -> None:
    assert svg.spread([0.0, 50.0, 90.0], [10.0, 10.0, 10.0]) == [0.0, 50.0, 90.0]


@given(st.text(max_size=200), st.floats(20, 200), st.integers(1, 3))
def test_wrapped_text_fits_its_box(content: str, width: float, lines: int) -> None:
    rows = svg.wrap(content, width, 12, lines)
    assert 1 <= len(rows) <= lines
    assert all(svg.text_width(row, 12) <= width + 1e-6 for row in rows)


@pytest.mark.parametrize(
    ("value", "step", "shown"),
    [(0.0, 0.5, "0"), (0.5, 0.5, "0.5"), (2.0, 1.0, "2"), (1e-4, 1e-4, "0.0001"), (20_000, 5_000, "20 k")],
)
def test_tick_labels_have_the_digits_they_need(value: float, step: float, shown: str) -> None:
    assert svg.label(value, step) == shown


def test_a_curve_begins_and_ends_at_its_ends() -> None:
    path = svg.curve([(0, 0), (10, 5), (20, 5)])
    assert path.startswith("M0.0,0.0")
    assert path.endswith("20.0,5.0")
    assert math.isclose(path.count("C"), 2)
