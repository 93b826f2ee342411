"""What a terminal shows when a run is over: about ten plain lines, none longer than 80 columns where words allow."""

from __future__ import annotations

import textwrap

from dsa_ray.report import words
from dsa_ray.report.summary import CHILD_KINDS, BeforeAfter, Summary

_HEAD = 13


def final_lines(summary: Summary, folder: str) -> list[str]:
    """The result of a run in plain lines; `folder` is where its files lie (path or URI)."""
    wall = sum(summary.wall_s.values())
    restarts = f", {words.plural(summary.restarts, 'restart')}" if summary.restarts else ""
    files = "summary.json, exercises.parquet, student/" if summary.state == "finished" else "summary.json"
    lines = [
        *_line("Run", f"{summary.state} after {words.duration(wall)}{restarts}"),
        *_line("Accuracy", _before_after(summary.accuracy, "taught")),
    ]
    if summary.accuracy.elementary.before or summary.accuracy.elementary.after:
        lines.extend(_line("", _before_after(summary.accuracy.elementary, "elementary")))
    return [
        *lines,
        *_line("Written", _written(summary)),
        *_line("Verdicts", _verdicts(summary)),
        *_line("Children", _children(summary)),
        *_line("Feedback lag", _lag(summary)),
        *_line("Training", _training(summary)),
        *_line("Generation", _generation(summary)),
        *_line("Files", f"{folder.rstrip('/')}/report.html, beside it {files}"),
    ]


def _line(head: str, text: str) -> list[str]:
    indent = " " * (_HEAD + 1)
    return textwrap.wrap(text, 80, initial_indent=f"{head:<{_HEAD}} ", subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _before_after(accuracy: BeforeAfter, what: str) -> str:
    before, after = accuracy.before, accuracy.after
    if before is None and after is None:
        return "not measured"
    asked = (after or before).n
    return f"{words.interval(before)} -> {words.interval(after)}  {what}, {words.plural(asked, 'question')}"


def _written(summary: Summary) -> str:
    rejected = summary.exercises.rejected
    reasons = f" ({words.counts(rejected)})" if rejected else ""
    cut = f"; {summary.exercises.truncated:,} cut off" if summary.exercises.truncated else ""
    return (
        f"{words.plural(summary.exercises.written, 'exercise')} and {words.plural(summary.textbooks, 'textbook')} "
        f"for {words.plural(summary.skills, 'skill')}; {sum(rejected.values()):,} rejected{reasons}{cut}"
    )


def _verdicts(summary: Summary) -> str:
    known = {word: summary.verdicts.get(key, 0) for key, word in words.VERDICT_WORDS.items()}
    return ", ".join(f"{word} {count:,}" for word, count in known.items()) if any(known.values()) else "none"


def _children(summary: Summary) -> str:
    children = [(kind, getattr(summary.children, kind)) for kind in CHILD_KINDS]
    if not any(child.written for _, child in children):
        return "none"
    shown = ((kind, child) for kind, child in children if child.written or kind != "easier")
    parts = (f"{kind} {child.trained:,}/{child.written:,}" for kind, child in shown)
    return f"{', '.join(parts)} (trained/written)"


def _lag(summary: Summary) -> str:
    steps, seconds = summary.feedback_lag_steps, summary.feedback_lag_s
    if steps.p50 is None:
        return "no child was trained"
    return (
        f"p50 {words.number(steps.p50)} steps ({words.duration(seconds.p50)}), "
        f"p95 {words.number(steps.p95)} steps ({words.duration(seconds.p95)})"
    )


def _training(summary: Summary) -> str:
    train = summary.train
    return (
        f"{words.plural(train.steps, 'step')}, {words.short(train.tokens)} tokens, "
        f"{words.number(train.tokens_per_s)}/s, idle {words.percent(train.idle_ratio)}, "
        f"loss {words.number(train.loss_first, 2)} -> {words.number(train.loss_last, 2)}"
    )


def _generation(summary: Summary) -> str:
    generate = summary.generate
    return (
        f"{words.short(generate.tokens)} tokens, {words.number(generate.tokens_per_s)} tokens/s, "
        f"idle {words.percent(generate.idle_ratio)}"
    )
