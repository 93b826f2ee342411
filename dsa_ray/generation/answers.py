"""Whether a given final answer is the same as the expected one.

Answers are untrusted text. They are brought to one spelling (`answer_text`), taken apart (several answers, tuples,
sets, intervals, equations), and the pieces compared as exact numbers, as text, as expressions by value (`compare`),
and, where that does not settle it, by computer algebra in a process with bounds of its own (`answer_process`). Nothing
here evaluates text as code.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterable
from fractions import Fraction
from types import TracebackType
from typing import Self

from dsa_ray.generation.answer_process import AnswerProcess, AnswerWorkerError
from dsa_ray.generation.answer_text import MAX_ANSWER, final_answer, normalise, number, split
from dsa_ray.generation.compare import same_equation, same_function
from dsa_ray.generation.expressions import Node, NotAnExpression, latex, read

__all__ = ["AnswerChecker", "AnswerWorkerError", "final_answer", "normalise"]

_MAX_PARTS = 12
_MAX_NESTING = 4
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_LABEL = re.compile(r"(?:[a-z][a-z0-9_]{0,3}'{0,3}(?:\([a-z]\))?|d[a-z]/d[a-z])\Z")
_RELATION = re.compile(r"(<=|>=|!=|<|>|=)")
_UNIT = re.compile(r"(?:[a-z]{2,}|[a-z]{2,}\^?\d|/|per| )+\Z")
_LEADING_NUMBER = re.compile(r"([-+]?[\d.]+(?:/\d+)?) ?(%|.*)\Z")
_CONJUNCTION = re.compile(r"(?:^|(?<= ))(?:and|or)(?= )|,(?:and|or) ")


class AnswerChecker:
    """Compares answers; thread-safe. Close it, or use it as a context manager, to end its process.

    Example:
        with AnswerChecker(timeout_s=1.2) as checker:
            checker.same("12*x**3", "12x^3")  # True
    """

    def __init__(self, timeout_s: float, memory_mib: int = 1024) -> None:
        """
        Args:
            timeout_s: time that computer algebra may take for one pair of answers, all their parts together, without
                the start of its process; an overrun counts as different.
            memory_mib: address space of the process that does computer algebra.
        """
        self._timeout_s = timeout_s
        self._process = AnswerProcess(timeout_s, memory_mib)
        self._lock = threading.Lock()
        self.algebra_calls = 0
        """Pairs that went to computer algebra."""

    def same(self, given: str, expected: str) -> bool:
        """Whether the answers are equal. Several answers ("3; 5") are compared part by part, in any order.

        Empty text equals nothing. Answers over `MAX_ANSWER` characters are equal only as text.

        Raises:
            AnswerWorkerError: computer algebra was needed and its process cannot start.
        """
        if len(given) > MAX_ANSWER or len(expected) > MAX_ANSWER:
            return bool(given.strip()) and given.strip() == expected.strip()
        left, right = normalise(given), normalise(expected)
        if not left or not right:
            return False
        with self._lock:
            until = self._process.spent_s + self._timeout_s
            return _Comparison(functools.partial(self._algebra, until)).same(left, right)

    def same_many(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        """`same(given, expected)` of every pair, in order."""
        return [self.same(given, expected) for given, expected in pairs]

    def close(self) -> None:
        """End the process and wait for it. The checker stays usable: the next need starts another."""
        with self._lock:
            self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _algebra(self, until: float, left: Node, right: Node) -> bool:
        within_s = until - self._process.spent_s
        if within_s <= 0:
            return False
        self.algebra_calls += 1
        return self._process.same(latex(left), latex(right), within_s)


class _Comparison:
    """One pair of normalised answers."""

    def __init__(self, algebra: Callable[[Node, Node], bool]) -> None:
        self._algebra = algebra

    def same(self, left: str, right: str, depth: int = 0) -> bool:
        if left == right:
            return True
        if depth > _MAX_NESTING:
            return False
        lefts, rights = _parts(left), _parts(right)
        if len(lefts) > 1 or len(rights) > 1:
            return self._any_order(lefts, rights, depth)
        if "∪" in left and "∪" in right:
            return self._any_order(split(left, "∪"), split(right, "∪"), depth)
        if (groups := _groups(left, right)) is not None:
            return self._group(*groups, depth)
        if _RELATION.search(left) or _RELATION.search(right):
            return self._relation(left, right, depth)
        return self._scalar(left, right)

    def _any_order(self, lefts: list[str], rights: list[str], depth: int) -> bool:
        if len(lefts) != len(rights) or len(lefts) > _MAX_PARTS:
            return False
        left_over = list(rights)
        for left in lefts:
            match = next((right for right in left_over if self.same(left, right, depth + 1)), None)
            if match is None:
                return False
            left_over.remove(match)
        return True

    def _group(self, left: str, right: str, depth: int) -> bool:
        lefts, rights = split(left[1:-1], ","), split(right[1:-1], ",")
        if left[0] != right[0] or left[-1] != right[-1] or len(lefts) != len(rights) or len(lefts) > _MAX_PARTS:
            return False
        if left[0] == "{":
            return self._any_order(lefts, rights, depth)
        return all(self.same(a, b, depth + 1) for a, b in zip(lefts, rights, strict=True))

    def _relation(self, left: str, right: str, depth: int) -> bool:
        lefts, rights = _chain(left), _chain(right)
        if lefts[1::2] == rights[1::2]:
            sides = list(zip(lefts[::2], rights[::2], strict=True))
            if all(self.same(a, b, depth + 1) for a, b in sides):
                return True
            return lefts[1::2] == ["="] and self._equation(lefts[::2], rights[::2], depth)
        if len(lefts) == 1 and len(rights) == 3 and rights[1] == "=" and _LABEL.match(rights[0]):
            return self.same(left, rights[2], depth + 1)
        if len(rights) == 1 and len(lefts) == 3 and lefts[1] == "=" and _LABEL.match(lefts[0]):
            return self.same(lefts[2], right, depth + 1)
        return False

    def _equation(self, left: list[str], right: list[str], depth: int) -> bool:
        if self.same(left[0], right[1], depth + 1) and self.same(left[1], right[0], depth + 1):
            return True
        try:
            return same_equation((read(left[0]), read(left[1])), (read(right[0]), read(right[1])))
        except NotAnExpression:
            return False

    def _scalar(self, left: str, right: str) -> bool:
        exact = _same_number(left, right)
        if exact is not None:
            return exact
        try:
            first, second = read(left), read(right)
        except NotAnExpression:
            return False
        by_value = same_function(first, second)
        if by_value is not None:
            return by_value
        return self._algebra(first, second)


def _same_number(left: str, right: str) -> bool | None:
    """For two plain numbers, one perhaps with a unit or a per cent sign; None where a side is no number."""
    values = [number(text) for text in (left, right)]
    if None not in values:
        return values[0] == values[1]
    measured = [_measured(text) for text in (left, right)]
    for plain, other in ((values[0], measured[1]), (values[1], measured[0])):
        if plain is not None and other is not None:
            value, unit = other
            return value == plain or (unit == "%" and value / 100 == plain)
    return None


def _measured(text: str) -> tuple[Fraction, str] | None:
    """A number with a unit of at least two letters, or per cent."""
    match = _LEADING_NUMBER.match(text)
    if match is None or (value := number(match.group(1))) is None:
        return None
    unit = match.group(2)
    if unit == "%":
        return value, unit
    try:
        read(unit)
    except NotAnExpression:
        return (value, unit) if _UNIT.match(unit) else None
    return None


def _parts(text: str) -> list[str]:
    """Several answers in one text: between semicolons, else commas, "and", "or"; `±` makes two."""
    joined = _CONJUNCTION.sub(";", text)
    parts = split(joined, ";")
    parts = parts if len(parts) > 1 else split(joined, ",")
    signed: list[str] = []
    for part in parts:
        both = part.count("±") == 1
        signed.extend([part.replace("±", "+"), part.replace("±", "-")] if both else [part])
    return signed


def _groups(left: str, right: str) -> tuple[str, str] | None:
    """Both, if each is one bracket with several elements, or a set."""
    several = [_is_group(text) for text in (left, right)]
    return (left, right) if all(several) else None


def _is_group(text: str) -> bool:
    if len(text) < 2 or text[0] not in _BRACKETS or text[-1] not in ")]}":
        return False
    inner = text[1:-1]
    return _balanced(inner) and (text[0] == "{" or len(split(inner, ",")) > 1)


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in _BRACKETS) - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _chain(text: str) -> list[str]:
    """`1<x<=3` as sides and signs in turn; with `>` turned round, so that the smaller side comes first."""
    pieces = [piece.strip() for piece in _RELATION.split(text)]
    if pieces[1::2] and all(sign in (">", ">=") for sign in pieces[1::2]):
        pieces = [{">": "<", ">=": "<="}.get(piece, piece) for piece in reversed(pieces)]
    return pieces
