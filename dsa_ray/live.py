"""The live view of `dsa run`: a panel on a terminal, plain lines anywhere else.

The view only shows. The pipeline hands it a `Status` about twice a second; times per phase and the time left are the
view's own, measured from what it is told.
"""

from __future__ import annotations

import time
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypedDict

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PHASES = ("graph", "textbooks", "pre-training", "exercises", "exam", "report")
_PLAIN_EVERY_S = 10.0
_WINDOW_S = 60.0
_VERDICTS = (("easy_to_learn", "easy", "green"), ("ambiguous", "ambiguous", "bright_black"),
             ("hard_to_learn", "hard", "yellow"), ("erroneous", "erroneous", "red"))  # fmt: skip


class Status(TypedDict, total=False):
    """What is known at the moment. Every key may be missing; a missing figure is not shown."""

    phase: str
    """The phase that the run waits for; usually one of `PHASES`, another name is shown behind them."""
    done: int
    """How much of the phase is done, in `unit`."""
    total: int
    """How much the phase has in all; missing or 0 while that is not known."""
    unit: str
    """What `done` counts: steps, skills, textbooks, questions."""
    loss: float
    """Mean loss of the last step, nats per token."""
    train_tokens_per_s: float
    train_idle_ratio: float
    """0..1."""
    generate_tokens_per_s: float
    generate_idle_ratio: float
    """0..1."""
    written: int
    """Exercises written."""
    rejected: int
    children: dict[str, int]
    """Written children by kind: `variant`, `composed`, `harder`, `easier`."""
    verdicts: dict[str, int]
    """By class: `easy_to_learn`, `ambiguous`, `hard_to_learn`, `erroneous`."""
    queues: dict[str, int]
    """Depths, shown in the given order under the given names, e.g. `requests`, `in flight`, `rows`."""
    restarts: int


class LiveView:
    """Shows a run while it lasts. Used as a context manager.

    Example:
        with LiveView() as view:
            view.opening(["Teaches: chain rule", "Takes about 5 min"])
            view.update({"phase": "exercises", "done": 12, "total": 200, "unit": "steps"})
            view.close(final_lines(summary, folder))

    Args:
        plain: True for lines, False for the panel, None to choose by the terminal.
        console: where to write; the standard output if None.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        plain: bool | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(highlight=False)
        dumb = not self._console.is_terminal or self._console.is_dumb_terminal
        self.plain = dumb if plain is None else plain
        self._clock = clock
        self._timer = Timer(clock)
        self._status: Status = {}
        self._spoken_s = float("-inf")
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def opening(self, lines: Sequence[str]) -> None:
        """What the run will do and about how long it takes."""
        self._print(lines)

    def update(self, status: Status) -> None:
        """Take in the newest figures; they replace the last ones."""
        changed = status.get("phase") != self._status.get("phase")
        self._status = status
        self._timer.observe(status)
        if self.plain:
            if changed or self._clock() - self._spoken_s >= _PLAIN_EVERY_S:
                self._spoken_s = self._clock()
                self._print([plain_line(status, self._timer)])
        elif self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._panel,
                refresh_per_second=2,
                redirect_stdout=False,  # what libraries print belongs in the log (`screen.quiet`), not above the panel
                redirect_stderr=False,
            )
            self._live.start()

    def note(self, text: str) -> None:
        """One line that stays, such as a restart; above the panel."""
        self._print([text])

    def close(self, lines: Sequence[str]) -> None:
        """End the view with the result of the run."""
        self._stop()
        self._print(lines)

    def _panel(self) -> Group:
        options = self._console.options
        return panel(self._status, self._timer, options.max_width, options.ascii_only)

    def _stop(self) -> None:
        if self._live is not None:
            self._timer.observe(self._status)
            self._live.stop()
            self._live = None

    def _print(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(Text(printable(line, self._console.encoding)), soft_wrap=self.plain)


class Timer:
    """Times per phase, and the pace from which the time left follows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.start = self._since = clock()
        self.phase = ""
        self.spent: dict[str, float] = {}
        """Seconds in phases that were left, also if one came twice."""
        self._pace: deque[tuple[float, int]] = deque()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self.start

    def in_phase_s(self, phase: str) -> float | None:
        """Seconds spent in a phase until now; None if it did not begin yet."""
        now = self._clock() - self._since if phase == self.phase else None
        before = self.spent.get(phase)
        return None if now is None and before is None else (now or 0.0) + (before or 0.0)

    def observe(self, status: Status) -> None:
        now, phase = self._clock(), status.get("phase", self.phase)
        if phase != self.phase:
            if self.phase:
                self.spent[self.phase] = self.in_phase_s(self.phase) or 0.0
            self.phase, self._since = phase, now
            self._pace.clear()
        done = status.get("done")
        if done is not None and (not self._pace or done != self._pace[-1][1]):
            self._pace.append((now, done))
        while len(self._pace) > 2 and now - self._pace[0][0] > _WINDOW_S:
            self._pace.popleft()

    def left_s(self, status: Status) -> float | None:
        """Seconds until `done` reaches `total` at the pace of the last minute; None while it is unknown."""
        if len(self._pace) < 2 or not status.get("total"):
            return None
        (early, few), (late, many) = self._pace[0], self._pace[-1]
        if many <= few or late <= early:
            return None
        rate = (many - few) / (late - early)
        return max(0.0, (status["total"] - many) / rate - (self._clock() - late))


def panel(status: Status, timer: Timer, width: int = 80, ascii_only: bool = False) -> Group:
    """The view as a renderable of about twelve lines; fits 80 columns."""
    parts = [Text(), *_phases(timer, width, ascii_only), _progress(status, timer), Text()]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", min_width=9)
    table.add_column()
    for head, figures in _figures(status):
        table.add_row(head, Text("   ").join(figures))
    return Group(*parts, table)


def plain_line(status: Status, timer: Timer) -> str:
    """The view as one line of text."""
    parts = [f"[{clock_time(timer.elapsed_s):>6}] {status.get('phase', 'starting')}{_plain_progress(status, timer)}"]
    for head, figures in _figures(status):
        parts.append(f"{head} {', '.join(figure.plain for figure in figures)}")
    return " | ".join(parts)


def printable(line: str, encoding: str) -> str:
    """One line without control characters, which a terminal would obey, and in the terminal's own letters."""
    shown = "".join(" " if unicodedata.category(char) in ("Cc", "Cs") else char for char in line)
    return shown.encode(encoding, "replace").decode(encoding)


def clock_time(seconds: float) -> str:
    """`48s`, `2m05`, `1h07`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}"


def _phases(timer: Timer, width: int, ascii_only: bool) -> list[Text]:
    """All phases, in as many lines as they need: those behind us with their time, the present one, those to come."""
    past, now, later = ("+", ">", "-") if ascii_only else ("✓", "●", "○")
    extra = [name for name in (*timer.spent, timer.phase) if name and name not in PHASES]
    lines = [Text()]
    for phase in (*PHASES, *dict.fromkeys(extra)):
        seconds = timer.in_phase_s(phase)
        if phase == timer.phase:
            word = Text(f"{now} {phase} {clock_time(seconds or 0)}", style="bold cyan")
        elif seconds is not None:
            word = Text(f"{past} {phase} {clock_time(seconds)}", style="green")
        else:
            word = Text(f"{later} {phase}", style="bright_black")
        if lines[-1] and cell_len(f"{lines[-1].plain}  {word.plain}") >= width:
            lines.append(Text())
        lines[-1] = Text("  ").join([lines[-1], word]) if lines[-1] else word
    return lines


def _progress(status: Status, timer: Timer) -> Table:
    done, total = status.get("done"), status.get("total")
    row = Table.grid(padding=(0, 2))
    words = Text(f"{done:,}" if done is not None else "")
    if done is not None and total:
        words.append(f" of {total:,}")
    if done is not None and status.get("unit"):
        words.append(f" {status['unit']}")
    left = timer.left_s(status)
    words.append(f"   {clock_time(left)} left" if left is not None else "", style="bright_black")
    if total:
        bar = ProgressBar(total=total, completed=done or 0, width=34, complete_style="cyan", finished_style="green")
        row.add_row(bar, words)
    else:
        row.add_row(words)
    return row


def _plain_progress(status: Status, timer: Timer) -> str:
    done, total, unit = status.get("done"), status.get("total"), status.get("unit", "")
    if done is None:
        return ""
    left = timer.left_s(status)
    text = f" {done:,} of {total:,} {unit}" if total else f" {done:,} {unit}"
    return text.rstrip() + (f", {clock_time(left)} left" if left is not None else "")


def _figures(status: Status) -> list[tuple[str, list[Text]]]:
    """(heading, figures) for every line that has something to show."""
    lines = [
        ("train", _engine(status.get("loss"), status.get("train_tokens_per_s"), status.get("train_idle_ratio"))),
        ("generate", _engine(None, status.get("generate_tokens_per_s"), status.get("generate_idle_ratio"))),
        ("written", _written(status)),
        ("children", [_count(name, count) for name, count in status.get("children", {}).items()]),
        ("verdicts", _verdicts(status.get("verdicts", {}))),
        ("queues", [_count(name, depth) for name, depth in status.get("queues", {}).items()]),
        ("restarts", [Text(str(status["restarts"]), style="yellow")] if status.get("restarts") else []),
    ]
    return [(head, figures) for head, figures in lines if figures]


def _engine(loss: float | None, tokens_per_s: float | None, idle: float | None) -> list[Text]:
    parts = []
    if loss is not None:
        parts.append(Text(f"loss {loss:.3f}"))
    if tokens_per_s is not None:
        parts.append(Text(f"{tokens_per_s:,.0f} tokens/s"))
    if idle is not None:
        parts.append(Text(f"idle {100 * idle:.1f} %", style="yellow" if idle > 0.05 else ""))
    return parts


def _written(status: Status) -> list[Text]:
    if status.get("written") is None:
        return []
    parts = [Text(f"{status['written']:,} exercises")]
    if status.get("rejected") is not None:
        parts.append(Text(f"{status['rejected']:,} rejected"))
    return parts


def _verdicts(verdicts: dict[str, int]) -> list[Text]:
    return [Text(f"{word} {verdicts[name]:,}", style=style) for name, word, style in _VERDICTS if name in verdicts]


def _count(name: str, count: int) -> Text:
    return Text(f"{name} {count:,}")
