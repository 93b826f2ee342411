"""Mathematical expressions as trees: read from plain text or LaTeX, evaluated as floats, written as LaTeX.

A small recursive-descent parser with bounds on length and depth. Whatever is not an expression made of known
functions, constants, numbers and one-letter variables is refused, so no unknown text gets any further. Evaluation is
floating point only: `9**9**9` overflows at once.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_TOKENS = 200
MAX_DEPTH = 40
"""Bounds of an expression: tokens, and nesting of brackets and powers."""


class NotAnExpression(Exception):
    """The text is no expression that is understood."""


@dataclass(frozen=True, slots=True)
class Node:
    """`number` and `name` carry `value`; `+ - * / ^ neg ! call` carry `parts`, and a call's `value` is its function."""

    kind: str
    value: str = ""
    parts: tuple[Node, ...] = ()


GREEK = frozenset(
    {"alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "sigma", "phi", "omega", "epsilon", "rho"}
)
CONSTANTS: Mapping[str, complex] = {"pi": math.pi, "e": math.e}
FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "cot": lambda x: 1 / cmath.tan(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "exp": cmath.exp,
    "ln": cmath.log,
    "log": cmath.log10,
    "sqrt": cmath.sqrt,
    "abs": lambda x: complex(abs(x)),
}
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "cosec": "csc", "cotan": "cot"}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_NAMES = sorted([*FUNCTIONS, *_ALIASES, *CONSTANTS, *GREEK, "frac", "oo"], key=len, reverse=True)

_OPENING = {"(": ")", "{": "}", "[": "]"}
_ONE = Node("number", "1")
_MINUS_ONE = Node("neg", parts=(_ONE,))
_BARE_FRACTION = (
    (re.compile(r"\\frac ?(\d)|\\frac ([a-z])"), r"\\frac{\1\2}"),
    (re.compile(r"(\\frac\{[^{}]*\}) ?(\d|[a-z])"), r"\1{\2}"),
    (re.compile(r"\\sqrt ?(\d)"), r"\\sqrt{\1}"),
)
"""`\\frac12` and `\\sqrt2`: LaTeX takes one digit where no bracket stands."""
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*|\.\d+)|\\?([a-z]+)|(_\{[a-z0-9]{1,4}\}|_[a-z0-9])|([-+*/^()\[\]{}|!]))")


def read(text: str) -> Node:
    """The tree of an expression in normalised notation (`answer_text.normalise`).

    Raises:
        NotAnExpression: unknown words or signs, unbalanced brackets, or beyond the bounds.
    """
    reader = _Reader(_tokens(text))
    node = reader.sum(0)
    if reader.at < len(reader.tokens):
        raise NotAnExpression(f"{reader.tokens[reader.at]!r} is left over")
    return node


def variables(node: Node) -> frozenset[str]:
    """Names in the tree that are no constants."""
    own = {node.value} if node.kind == "name" and node.value not in CONSTANTS else set()
    return frozenset(own.union(*(variables(part) for part in node.parts)))


def evaluate(node: Node, values: Mapping[str, complex]) -> complex:
    """The value at one point.

    Raises:
        ArithmeticError, ValueError: undefined there, or out of the range of floats.
    """
    kind = node.kind
    if kind == "number":
        return complex(float(node.value))
    if kind == "name":
        return CONSTANTS[node.value] if node.value in CONSTANTS else values[node.value]
    parts = [evaluate(part, values) for part in node.parts]
    if kind == "call":
        return FUNCTIONS[node.value](parts[0])
    if kind == "!":
        return _factorial(parts[0])
    return _ARITHMETIC[kind](*parts)


def latex(node: Node) -> str:
    """The tree as LaTeX with every group in brackets: what a LaTeX parser cannot take in two ways."""
    kind = node.kind
    if kind == "number":
        return node.value
    if kind == "name":
        return _latex_name(node.value)
    parts = [latex(part) for part in node.parts]
    if kind == "call":
        return _latex_call(node.value, parts[0])
    if kind == "/":
        return f"\\frac{{{parts[0]}}}{{{parts[1]}}}"
    if kind == "^":
        return f"{_grouped(node.parts[0], parts[0])}^{{{parts[1]}}}"
    if kind == "neg":
        return f"(-{_grouped(node.parts[0], parts[0])})"
    if kind == "!":
        return f"{_grouped(node.parts[0], parts[0])}!"
    sign = " \\cdot " if kind == "*" else f" {kind} "
    return sign.join(_grouped(part, text) for part, text in zip(node.parts, parts, strict=True))


def _grouped(node: Node, text: str) -> str:
    return text if node.kind in ("number", "name", "neg") else f"({text})"


def _latex_name(name: str) -> str:
    if name == "oo":
        return "\\infty"
    base, _, index = name.partition("_")
    base = f"\\{base}" if len(base) > 1 else base
    return f"{base}_{{{index}}}" if index else base


def _latex_call(function: str, argument: str) -> str:
    if function == "sqrt":
        return f"\\sqrt{{{argument}}}"
    if function == "abs":
        return f"\\left|{argument}\\right|"
    if function == "log":
        return f"\\log_{{10}}({argument})"
    return f"\\{function}({argument})"


def _factorial(value: complex) -> complex:
    if value.imag or value.real != int(value.real) or not 0 <= value.real <= 170:
        raise ValueError("a factorial of no whole number")
    return complex(math.gamma(value.real + 1))


_ARITHMETIC: Mapping[str, Callable[..., complex]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
    "neg": lambda a: -a,
}


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.strip()
    for pattern, bracketed in _BARE_FRACTION:
        text = pattern.sub(bracketed, text)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) >= MAX_TOKENS:
            raise NotAnExpression(f"{text[at : at + 20]!r} is not understood")
        at = match.end()
        digits, word, index, sign = match.groups()
        if word:
            tokens.extend(_words(word))
        elif index:
            _attach_index(tokens, index.strip("_{}"))
        else:
            tokens.append(digits or sign)
    return tokens


def _words(word: str) -> list[str]:
    """A run of letters: known names, and up to two one-letter variables, side by side (`xsin`, `ab`, also `xyz`)."""
    names: list[str] = []
    rest = word
    while rest:
        known = next((name for name in _NAMES if rest.startswith(name)), None)
        names.append(known or rest[0])
        rest = rest[len(names[-1]) :]
    letters = [name for name in names if name not in _NAMES]
    if (len(letters) > 2 and set(letters) - set("xyz")) or len(names) > 4:
        raise NotAnExpression(f"{word[:20]!r} is a word")
    return [_ALIASES.get(name, name) for name in names]


def _attach_index(tokens: list[str], index: str) -> None:
    if not tokens or not tokens[-1].isalpha() or (tokens[-1] in FUNCTIONS and tokens[-1] != "log"):
        raise NotAnExpression("an index without a name")
    tokens[-1] = f"{tokens[-1]}_{index}"


class _Reader:
    """Recursive descent over tokens; `depth` counts the nesting."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise NotAnExpression(f"{expected or 'more'!r} is missing")
        self.at += 1
        return token

    def sum(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise NotAnExpression("nested too deeply")
        node = self.product(depth)
        while self.peek() in ("+", "-"):
            node = Node(self.take(), parts=(node, self.product(depth)))
        return node

    def product(self, depth: int) -> Node:
        node = self.signed(depth)
        while True:
            if self.peek() in ("*", "/"):
                node = Node(self.take(), parts=(node, self.signed(depth)))
            elif self.begins_factor():
                if _ends_in_number(node) and self.peek()[0].isdigit():
                    raise NotAnExpression("two numbers side by side")
                node = self.beside(node, depth)
            else:
                return node

    def beside(self, node: Node, depth: int) -> Node:
        """`2x` is a product, `1\\frac{1}{2}` a mixed number."""
        mixed = node.kind == "number" and self.peek() == "frac"
        right = self.power(depth)
        whole = mixed and all(part.kind == "number" for part in right.parts)
        return Node("+" if whole else "*", parts=(node, right))

    def begins_factor(self) -> bool:
        token = self.peek()
        return bool(token) and (token[0].isalnum() or token[0] == "." or token in _OPENING)

    def signed(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise NotAnExpression("nested too deeply")
        if self.peek() == "-":
            self.take()
            return Node("neg", parts=(self.signed(depth + 1),))
        if self.peek() == "+":
            self.take()
            return self.signed(depth + 1)
        return self.power(depth)

    def power(self, depth: int) -> Node:
        node = self.postfix(self.atom(depth))
        if self.peek() == "^":
            self.take()
            node = Node("^", parts=(node, self.signed(depth + 1)))
        return node

    def postfix(self, node: Node) -> Node:
        while self.peek() == "!":
            self.take()
            node = Node("!", parts=(node,))
        return node

    def atom(self, depth: int) -> Node:
        token = self.take()
        if token in _OPENING:
            return self.closed(_OPENING[token], depth)
        if token == "|":
            return Node("call", "abs", (self.closed("|", depth),))
        if token[0].isdigit() or token[0] == ".":
            return Node("number", token)
        if token == "frac":
            return Node("/", parts=(self.braced(depth), self.braced(depth)))
        if token.partition("_")[0] in FUNCTIONS:
            return self.call(token, depth)
        if not token[0].isalpha():
            raise NotAnExpression(f"{token!r} has nothing before it")
        return Node("name", token)

    def braced(self, depth: int) -> Node:
        if self.peek() not in _OPENING:
            raise NotAnExpression("a fraction without brackets")
        return self.atom(depth)

    def closed(self, bracket: str, depth: int) -> Node:
        node = self.sum(depth + 1)
        self.take(bracket)
        return node

    def call(self, token: str, depth: int) -> Node:
        """A function with its power (`sin^2(x)`), base (`log_2(8)`) or root (`sqrt[3]{x}`), and its argument."""
        function, _, base = token.partition("_")
        root = self.atom(depth) if function == "sqrt" and self.peek() == "[" else None
        exponent = self.exponent(depth)
        if function in _INVERSE and exponent == _MINUS_ONE:
            function, exponent = _INVERSE[function], None
        argument = self.argument(function, depth)
        node = Node("call", function, (argument,))
        if root is not None:
            node = Node("^", parts=(argument, Node("/", parts=(_ONE, root))))
        if base:
            base_node = Node("number" if base.isdigit() else "name", base)
            node = Node("/", parts=(Node("call", "ln", (argument,)), Node("call", "ln", (base_node,))))
        return node if exponent is None else Node("^", parts=(node, exponent))

    def exponent(self, depth: int) -> Node | None:
        """The exponent between a function and its argument; a bracket, a number or a letter, perhaps negative."""
        if self.peek() != "^":
            return None
        self.take()
        negative = self.peek() == "-" and bool(self.take())
        node = self.atom(depth + 1)
        return Node("neg", parts=(node,)) if negative else node

    def argument(self, function: str, depth: int) -> Node:
        """What a function applies to: a bracket, or what stands beside it without a sign (`sin 2x`)."""
        if depth > MAX_DEPTH:
            raise NotAnExpression("nested too deeply")
        if self.peek() in _OPENING:
            return self.atom(depth)
        node = self.power(depth + 1)
        while function != "sqrt" and self.begins_factor() and self.peek() not in _OPENING and not self.at_function():
            node = Node("*", parts=(node, self.power(depth + 1)))
        return node

    def at_function(self) -> bool:
        return self.peek().partition("_")[0] in FUNCTIONS


def _ends_in_number(node: Node) -> bool:
    while node.kind in ("*", "^") and node.parts:
        node = node.parts[-1]
    return node.kind == "number"
