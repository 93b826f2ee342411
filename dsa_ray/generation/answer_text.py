"""Final answers as text: where they stand, how they are written, and into what parts they fall."""

from __future__ import annotations

import re
from fractions import Fraction

from dsa_ray.generation.words import SIGNS

MAX_ANSWER = 500
"""A longer answer, in characters, equals only itself."""
_TAIL = 20_000
"""Only so many last characters of a text are searched for its answer."""

_ANSWER_LINE = re.compile(
    r"^[ \t>*_#-]*(?:the )?(?:final )?answer[ \t*_]*(?::|\bis\b)[ \t*_]*(.*)$", re.IGNORECASE | re.MULTILINE
)
_LAST_MARK = re.compile(r"(?:^|\n)####[ \t]*([^\s#][^\n]*+)\s*+\Z")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]{1,20}")
_SYMBOLS = {"π": " pi ", "∞": " oo ", "√": " sqrt ", "≤": "<=", "≥": ">=", "≠": "!=", "\\cup": "∪", "°": " degrees"}
_LATEX = (
    (re.compile(r"\\[()\[\]]|\$"), ""),
    (re.compile(r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])|\\[,;:!]|\\(?=[ \n])|~"), " "),
    (re.compile(r"\\(?:text|mathrm|mathbf|operatorname|mbox)\s*\{([^{}]{0,100})\}"), r" \1 "),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:cdot|times|ast)(?![a-zA-Z])"), "*"),
    (re.compile(r"\\pm(?![a-zA-Z])|\+/-"), "±"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
    (re.compile(r"\\leq?(?:slant)?(?![a-zA-Z])"), "<="),
    (re.compile(r"\\geq?(?:slant)?(?![a-zA-Z])"), ">="),
    (re.compile(r"\\neq?(?![a-zA-Z])"), "!="),
    (re.compile(r"(?<=[)\]}]) ?[uU] ?(?=[(\[{])"), "∪"),
    (re.compile(r"\\(?:infty|infinity)(?![a-zA-Z])"), " oo "),
    (re.compile(r"\\pi(?![a-zA-Z])"), " pi "),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])"), " degrees"),
    (re.compile(r"\\[{]"), "{"),
    (re.compile(r"\\[}]"), "}"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\binfinity\b|\binf\b"), "oo"),
)
_THOUSANDS = re.compile(r"(?<![\d.,(\[{])\d{1,3}(?:,\d{3})+(?![\d,)\]}])")
_LABEL = re.compile(r"\A[ \t]*(?:the )?(?:final )?answer[ \t]*(?::|\bis\b)[ \t]*", re.IGNORECASE)
_BOLD = re.compile(r"\A\s*(\*\*|__)([^*_]+)\1[ .]*\Z")
_BESIDE_OPERATOR = re.compile(r" ?([-+*/^=(),;<>\[\]{}|!%∪±]) ?")
_NUMBER = re.compile(r"([-+]?)(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:/(\d{1,40})|e([-+]?\d{1,3}))?\Z")
_MIXED = re.compile(r"([-+]?)(\d{1,20}) (\d{1,20})/(\d{1,20})\Z")
_LATEX_FRACTION = re.compile(r"([-+]?)(\d{0,20}) ?\\frac ?(?:\{(-?\d{1,20})\}|(\d)) ?(?:\{(\d{1,20})\}|(\d))\Z")


def final_answer(text: str) -> str | None:
    """The answer that a text ends with: its last "Answer:" line, else its last `\\boxed{}`.

    A last line `#### 18` goes before both (GSM8K's form). None where there is none. What follows an "Answer:" that
    ends its line is taken from the next line with anything in it.
    """
    tail = text[-_TAIL:].rstrip()
    mark = _LAST_MARK.search(tail)
    if mark and not _ANSWER_LINE.match(mark.group(1)):
        return _bare(mark.group(1))
    lines = list(_ANSWER_LINE.finditer(tail))
    if lines:
        last = lines[-1]
        answer = last.group(1).strip() or next((line for line in tail[last.end() :].splitlines() if line.strip()), "")
        return _bare(boxed(answer) or answer)
    return _bare(boxed(tail) or "")


def boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{...}`; None without one or where its bracket does not close."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at]
    return None


def _bare(answer: str) -> str | None:
    return answer.lstrip(" \t*_`").rstrip(" \t\r*_`.") or None


def normalise(answer: str) -> str:
    """One spelling for answers that differ in notation alone: signs, LaTeX dress, bold print, spaces, case.

    A label before ("The answer is 5") and a full stop after it go too.

    An answer longer than `MAX_ANSWER` is only stripped.
    """
    if len(answer) > MAX_ANSWER:
        return answer.strip()
    text = _BOLD.sub(r"\2", _LABEL.sub("", _BOLD.sub(r"\2", answer)))
    text = _SUPERSCRIPT_RUN.sub(lambda run: f"^({run.group().translate(_SUPERSCRIPTS)})", text).translate(SIGNS)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    inside = boxed(text)
    text = text if inside is None else inside
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    text = text.replace("**", "^").strip().strip("`").rstrip(".?").casefold()
    text = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), text)
    return _BESIDE_OPERATOR.sub(r"\1", " ".join(text.split())).strip()


def number(text: str) -> Fraction | None:
    """The exact value of a normalised plain number, fraction, mixed number, or LaTeX fraction of whole numbers.

    `1.2e3` is 1200: a number written so close to its `e` means a power of ten.
    """
    match = _NUMBER.match(text)
    if match:
        sign, value, divisor, power = match.groups()
        if divisor and not int(divisor):
            return None
        return _signed(sign, Fraction(value) / int(divisor or 1) * Fraction(10) ** int(power or 0))
    match = _MIXED.match(text)
    if match:
        sign, whole, top, bottom = match.groups()
        return _signed(sign, int(whole) + Fraction(int(top), int(bottom))) if int(bottom) else None
    match = _LATEX_FRACTION.match(text)
    if match:
        sign, whole, long_top, top, long_bottom, bottom = match.groups()
        divisor = int(long_bottom or bottom)
        return _signed(sign, int(whole or 0) + Fraction(int(long_top or top), divisor)) if divisor else None
    return None


def canonical(answer: str) -> str:
    """What equal answers have in common, as far as text tells: the exact number, else the normalised text.

    Example:
        canonical("$1,200.50") == canonical("1.2005e3") == "2401/2"
    """
    text = normalise(answer)
    value = number(text)
    return text if value is None else str(value)


def split(text: str, separators: str) -> list[str]:
    """The parts of a text between separators that no bracket encloses; empty ones are left out."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth = max(0, depth - 1)
        elif depth == 0 and character in separators:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value
