"""Whether two expressions are the same function, decided by floating-point values at fixed points.

Agreement at every point within 1e-9 settles that they are equal, a clear difference that they are not. What this
cannot settle (values out of range, agreement for positive numbers only, nearly equal constants) is left to computer
algebra (`generation.answers`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dsa_ray.generation.expressions import Node, evaluate, variables

_POSITIVE = (0.7310585, 1.6180339, 2.2360679, 0.3141592, 3.3166247, 1.1447298)
_NEGATIVE = (-0.8414709, -1.7724538, -2.6651441)
_STRIDE = 0.5772156
"""Variables take different values at one point: the k-th in alphabetical order is moved by k strides."""
_LEAST = 3
"""So many points must be valid for expressions with variables."""
_EQUAL = 1e-9
_NEAR = 1e-3

Values = list[tuple[complex, complex]]


def same_function(left: Node, right: Node) -> bool | None:
    """True, False, or None where values do not settle it."""
    names = sorted(variables(left) | variables(right))
    if not names:
        return _same_constant(left, right)
    positive = _values(left, right, names, _POSITIVE)
    if len(positive) < _LEAST:
        return None
    if not _all_close(positive):
        return False if variables(left) == variables(right) or len(positive) == len(_POSITIVE) else None
    return True if _all_close(_values(left, right, names, _NEGATIVE)) else None


def same_equation(left: tuple[Node, Node], right: tuple[Node, Node]) -> bool:
    """Whether one equation is the other times a constant: lhs - rhs are proportional at every point."""
    first, second = (Node("-", parts=sides) for sides in (left, right))
    names = sorted(variables(first) | variables(second))
    pairs = _values(first, second, names, (*_POSITIVE, *_NEGATIVE))
    if len(pairs) < _LEAST or not names or any(abs(a) < _EQUAL or abs(b) < _EQUAL for a, b in pairs):
        return False
    ratios = [(a / b, pairs[0][0] / pairs[0][1]) for a, b in pairs]
    return _all_close(ratios)


def _same_constant(first: Node, second: Node) -> bool | None:
    left, right = _constant(first), _constant(second)
    if left is None or right is None or (math.isinf(abs(left)) and math.isinf(abs(right))):
        return None
    if math.isinf(abs(left)) or math.isinf(abs(right)):
        return False
    if _all_close([(left, right)]):
        return True
    return None if abs(left - right) <= _NEAR * max(abs(left), abs(right)) else False


def _constant(node: Node) -> complex | None:
    """The value; infinite where it is beyond floats, None where there is none."""
    try:
        value = evaluate(node, {})
    except OverflowError:
        return complex(math.inf)
    except (ArithmeticError, ValueError):
        return None
    return None if math.isnan(value.real) or math.isnan(value.imag) else value


def _values(left: Node, right: Node, names: Sequence[str], points: Sequence[float]) -> Values:
    """Both values at the points where both are finite."""
    pairs = []
    for index, point in enumerate(points):
        at = {name: complex(_moved(point, order, index)) for order, name in enumerate(names)}
        try:
            pair = evaluate(left, at), evaluate(right, at)
        except (ArithmeticError, ValueError):
            continue
        if all(math.isfinite(value.real) and math.isfinite(value.imag) for value in pair):
            pairs.append(pair)
    return pairs


def _moved(point: float, order: int, index: int) -> float:
    """A value for the `order`-th variable, of the same sign as the point."""
    return math.copysign(abs(point) + order * _STRIDE * (1 + 0.37 * index), point)


def _all_close(pairs: Values) -> bool:
    return all(abs(a - b) <= 1e-12 + _EQUAL * max(abs(a), abs(b)) for a, b in pairs)
