from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.expressions import Node, NotAnExpression, evaluate, latex, read, variables

AT = {"x": 0.7, "y": 1.3, "x_1": 2.0, "a": 3.0, "b": 5.0}
TREES = st.recursive(
    st.integers(1, 9).map(lambda n: Node("number", str(n))) | st.sampled_from("xy").map(lambda v: Node("name", v)),
    lambda inner: (
        st.tuples(st.sampled_from("+-*/"), inner, inner).map(lambda t: Node(t[0], parts=t[1:]))
        | st.tuples(st.sampled_from(["sin", "exp", "sqrt", "abs", "ln"]), inner).map(lambda t: Node("call", *_call(t)))
        | inner.map(lambda node: Node("neg", parts=(node,)))
        | inner.map(lambda node: Node("^", parts=(node, Node("number", "2"))))
    ),
    max_leaves=6,
)


def _call(pair: tuple[str, Node]) -> tuple[str, tuple[Node, ...]]:
    return pair[0], (pair[1],)


def value(text: str) -> complex:
    return evaluate(read(text), AT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2+3*4", 14),
        ("-x^2", -0.49),
        ("2^-1", 0.5),
        ("2^3^2", 512),
        ("1/2x", 0.35),
        ("2x(x+1)", 2 * 0.7 * 1.7),
        ("ab", 15),
        ("x_1+x_{1}", 4),
        ("sin(2x)*2", 2 * math.sin(1.4)),
        ("\\sin 2x", math.sin(1.4)),
        ("sin x cos x", math.sin(0.7) * math.cos(0.7)),
        ("sin^2(x)", math.sin(0.7) ** 2),
        ("\\sin^{-1}(x)", math.asin(0.7)),
        ("xsin(x)", 0.7 * math.sin(0.7)),
        ("e^{2x}", math.exp(1.4)),
        ("exp(2x)", math.exp(1.4)),
        ("xe^x", 0.7 * math.exp(0.7)),
        ("lnx", math.log(0.7)),
        ("log(100)", 2),
        ("log_2(8)", 3),
        ("\\log_{2}{8}", 3),
        ("sqrt[3]{8}", 2),
        ("\\sqrt2", math.sqrt(2)),
        ("2sqrt(2)", math.sqrt(8)),
        ("\\frac12", 0.5),
        ("\\frac{x}2", 0.35),
        ("1\\frac{1}{2}", 1.5),
        ("|x-1|", 0.3),
        ("4!", 24),
        ("2pi", 2 * math.pi),
    ],
)
def test_notation_has_its_usual_meaning(text: str, expected: float) -> None:
    assert value(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "())",
        "1 2",
        "hello",
        "import os",
        "__import__('os')",
        "x.y",
        "a=b",
        "2+",
        "*2",
        "\\frac{1}",
        "\\input{x}",
        "_1",
        "(" * 5000 + "1" + ")" * 5000,
        "-" * 100 + "1",
        "2^" * 100 + "2",
        "sin " * 100 + "x",
        "1+" * 150 + "1",
        "{" * 100,
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(NotAnExpression):
        read(text)


def test_towers_of_powers_overflow_at_once() -> None:
    with pytest.raises(OverflowError):
        value("9^9^9")
    with pytest.raises(ArithmeticError):
        value("1/(x-x)")


def test_constants_are_no_variables() -> None:
    assert variables(read("e^x+pi*y")) == {"x", "y"}


@given(TREES)
def test_latex_is_read_back_as_the_same_function(tree: Node) -> None:
    text = latex(tree).replace("\\left|", "|").replace("\\right|", "|").replace("\\cdot", "*")
    if "|" in text or len(text) > 150:
        return
    try:
        expected = evaluate(tree, AT)
    except (ArithmeticError, ValueError):
        return
    assert evaluate(read(text), AT) == pytest.approx(expected, rel=1e-9, nan_ok=True)


@given(st.text(st.sampled_from("0123456789.+-*/^()[]{}|!_ xyzepi\\sinlogfracsqrt"), max_size=60))
def test_no_text_crashes_reading_or_evaluation(text: str) -> None:
    try:
        node = read(text)
    except NotAnExpression:
        return
    latex(node)
    try:
        evaluate(node, dict.fromkeys(variables(node), 0.5))
    except (ArithmeticError, ValueError):
        return
