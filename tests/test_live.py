import io
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dsa_ray.live import LiveView, Status, Timer, clock_time, panel, plain_line, printable


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


FULL: Status = {
    "phase": "exercises",
    "done": 253,
    "total": 1000,
    "unit": "steps",
    "loss": 1.234,
    "train_tokens_per_s": 8676.4,
    "train_idle_ratio": 0.012,
    "generate_tokens_per_s": 2619.0,
    "generate_idle_ratio": 0.003,
    "written": 1240,
    "rejected": 87,
    "children": {"variant": 71, "composed": 30, "harder": 4},
    "verdicts": {"easy_to_learn": 300, "hard_to_learn": 100, "ambiguous": 1700, "erroneous": 12},
    "queues": {"requests": 24, "in flight": 64, "rows": 32},
    "restarts": 1,
}


def screen(width: int = 80, terminal: bool = False, encoding: str = "utf-8") -> tuple[Console, Callable[[], str]]:
    """A console that writes into memory, and what it wrote."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(file=file, width=width, height=24, force_terminal=terminal, highlight=False,
                      _environ={"TERM": "xterm-256color"} if terminal else {})  # fmt: skip
    return console, lambda: raw.getvalue().decode(encoding)


def drawn(status: Status, timer: Timer, width: int = 80) -> list[str]:
    console, written = screen(width)
    console.print(panel(status, timer, width))
    return written().splitlines()


def test_the_panel_fits_80_columns_and_shows_all_figures() -> None:
    clock = Clock()
    timer = Timer(clock)
    for phase in ("graph", "textbooks", "pre-training", "exercises"):
        timer.observe({**FULL, "phase": phase})
        clock.now += 3000
    lines = drawn(FULL, timer)
    text = "\n".join(lines)
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) <= 13
    for words in ("loss 1.234", "8,676 tokens/s", "idle 1.2 %", "1,240 exercises", "87 rejected", "variant 71"):
        assert words in text
    for words in ("easy 300", "in flight 64", "253 of 1,000 steps", "✓ graph 50m00", "● exercises 50m00", "○ exam"):
        assert words in text


def test_a_panel_without_figures_shows_the_phases_only() -> None:
    text = "\n".join(drawn({}, Timer(Clock())))
    assert "○ graph" in text
    assert "loss" not in text


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_panel_keeps_to_other_widths(width: int) -> None:
    timer = Timer(Clock())
    timer.observe(FULL)
    assert all(len(line) <= width for line in drawn(FULL, timer, width))


def test_a_phase_that_comes_twice_adds_up() -> None:
    clock = Clock()
    timer = Timer(clock)
    for phase, seconds in (("exam", 5), ("graph", 2), ("exam", 3)):
        timer.observe({"phase": phase})
        clock.now += seconds
    assert timer.in_phase_s("exam") == 8
    assert timer.in_phase_s("graph") == 2
    assert timer.in_phase_s("report") is None


def test_the_time_left_follows_the_pace_of_the_last_minute() -> None:
    clock = Clock()
    timer = Timer(clock)
    for done in range(11):
        timer.observe({"phase": "exercises", "done": done, "total": 100})
        clock.now += 1
    assert timer.left_s({"total": 100}) == pytest.approx(89)


def test_no_time_left_is_claimed_before_there_is_a_pace() -> None:
    timer = Timer(Clock())
    timer.observe({"phase": "exercises", "done": 0, "total": 100})
    assert timer.left_s({"total": 100}) is None


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 100)), max_size=30), st.integers(0, 1000))
def test_the_time_left_is_never_negative(seen: list[tuple[int, float]], total: int) -> None:
    clock = Clock()
    timer = Timer(clock)
    for done, seconds in seen:
        timer.observe({"phase": "exercises", "done": done, "total": total})
        clock.now += seconds
    left = timer.left_s({"total": total})
    assert left is None or left >= 0


def test_where_there_is_no_terminal_one_line_comes_every_ten_seconds_and_at_each_phase() -> None:
    console, written = screen()
    clock = Clock()
    with LiveView(console=console, clock=clock) as view:
        for second in range(25):
            view.update({"phase": "graph" if second < 5 else "textbooks", "done": second})
            clock.now += 1
    assert [line.split("]")[1].split()[0] for line in written().splitlines()] == ["graph", "textbooks", "textbooks"]
    assert "\x1b" not in written()


def test_a_plain_line_is_never_wrapped() -> None:
    console, written = screen(width=40)
    timer = Timer(Clock())
    with LiveView(plain=True, console=console) as view:
        view.update(FULL)
    assert len(written().splitlines()) == 1
    assert "verdicts easy 300, ambiguous 1,700, hard 100, erroneous 12" in plain_line(FULL, timer)


def test_opening_notes_and_result_appear_in_their_order() -> None:
    console, written = screen(terminal=True)
    with LiveView(plain=False, console=console) as view:
        view.opening(["Teaches: chain rule"])
        view.update(FULL)
        view.note("a replica was replaced")
        view.close(["Accuracy 20 % -> 75 %"])
    text = written()
    assert text.index("Teaches") < text.index("a replica") < text.index("Accuracy")


def test_the_cursor_comes_back_when_the_run_fails() -> None:
    console, written = screen(terminal=True)

    def failing_run() -> None:
        with LiveView(plain=False, console=console) as view:
            view.update(FULL)
            raise RuntimeError("stalled")

    with pytest.raises(RuntimeError, match="stalled"):
        failing_run()
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert written().rindex(show) > written().rindex(hide)


def test_what_libraries_print_does_not_come_above_the_panel(capsys: pytest.CaptureFixture[str]) -> None:
    console, written = screen(terminal=True)
    with LiveView(console=console) as view:
        view.update(FULL)
        print("a library warns", file=sys.stderr)
        print("and speaks")
    assert "a library warns" in capsys.readouterr().err
    assert "speaks" not in written()


def test_a_note_is_shown_as_it_is_without_markup_or_control_characters() -> None:
    console, written = screen()
    with LiveView(console=console) as view:
        view.note("[red]x[/red] \x1b[2J y\nz")
    assert written() == "[red]x[/red]  [2J y z\n"


def test_a_terminal_of_plain_letters_gets_plain_letters() -> None:
    console, written = screen(encoding="ascii")
    console.print(panel(FULL, Timer(Clock()), 80, ascii_only=True))
    with LiveView(console=console) as view:
        view.note("微分 – done")
    assert "- graph" in written()
    assert "?? ? done" in written()


@given(st.text())
def test_any_text_can_be_printed(text: str) -> None:
    shown = printable(text, "utf-8")
    assert "\x1b" not in shown
    assert "\n" not in shown
    shown.encode()


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0s"), (59.9, "59s"), (125, "2m05"), (4020, "1h07")])
def test_clock_times_are_short(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown
