"""Numbers in words, the same in the terminal and in the page. A figure that is not known is a dash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsa_ray.report.summary import Interval

UNKNOWN = "–"
VERDICT_WORDS = {
    "easy_to_learn": "easy",
    "ambiguous": "ambiguous",
    "hard_to_learn": "hard",
    "erroneous": "erroneous",
}
"""In the order in which they are shown."""


def number(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def short(value: float | None) -> str:
    """A large number in few characters: 950, 8,676, 12.4 k, 3.1 M."""
    if value is None:
        return UNKNOWN
    for least, size, unit in ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            scaled = value / size
            return f"{scaled:.{1 if scaled < 100 else 0}f} {unit}"
    return f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def interval(value: Interval | None) -> str:
    if value is None:
        return "not measured"
    return f"{percent(value.value)} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counts(values: Mapping[str, int]) -> str:
    """`schema 50, duplicate 30`: the most frequent first."""
    ranked = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ranked)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
