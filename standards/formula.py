"""The language of methodologies: one short expression for what a quantity saves. Closed, exact, checked. Pure.

    quantity * min(published, car - consumption * electricity)

A formula is made of `quantity`, named inputs, whole numbers, + - * /, min, max and brackets, nothing else. A figure has
a name and a source, so it cannot stand in a formula. Units are checked when a methodology is loaded: the result is a
mass. It must also be proportional to the quantity: then an act counts the same in one piece or in two, and a formula
whose inputs are chosen is one rate, which a million records can share.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from standards.measure import MASS, PLAIN, Measure

LONGEST = 400
QUANTITY = "quantity"
_SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


class FormulaError(ValueError):
    """The text is no formula, or its units or its dependence on the quantity are wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of a formula and what it came to."""

    expression: str
    value: Fraction
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A checked formula."""

    text: str
    names: frozenset[str]
    """The inputs it uses, `quantity` left out."""
    tree: ast.expr
    measures: Mapping[str, Measure]

    def rate(self, inputs: Mapping[str, Fraction]) -> Fraction:
        """Return what one unit of the quantity saves, in milligrams; never below zero.

        Args:
            inputs: the value of every name, in basic units.

        Raises:
            FormulaError: a divisor is zero.
        """
        return max(Fraction(0), self.steps(Fraction(1), inputs)[-1].value)

    def steps(self, quantity: Fraction, inputs: Mapping[str, Fraction]) -> list[Step]:
        """Return every part of the formula in the order of computing; the last one is the whole."""
        steps: list[Step] = []
        _evaluate(self.tree, {QUANTITY: quantity, **inputs}, self.measures, steps)
        return steps


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a part of a formula measures, and to which power it holds the quantity; a bare zero fits anything."""

    measure: Measure
    degree: int
    zero: bool = False


def parse_formula(text: str, measures: Mapping[str, Measure]) -> Formula:
    """Read and check a formula.

    Args:
        text: the expression.
        measures: of `quantity` and of every input.

    Raises:
        FormulaError: says which part is wrong and why.

    Example:
        >>> from standards.measure import parse_measure
        >>> units = {"quantity": parse_measure("km")[1], "saved": parse_measure("g/km")[1]}
        >>> parse_formula("quantity * saved", units).rate({"saved": Fraction(33_880)})
        Fraction(33880, 1)
    """
    if len(text) > LONGEST:
        raise FormulaError(f"a formula has at most {LONGEST} characters")
    if not text.isascii():
        # Python reads a letter that only looks like another one as that one; a reader cannot see it.
        raise FormulaError(f"{text!r} has characters beyond ASCII")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as cause:
        raise FormulaError(f"{text!r} is not an expression") from cause
    kind = _check(tree, measures)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {QUANTITY, "min", "max"}
    if kind.measure != MASS or kind.zero:
        raise FormulaError(f"{text!r} gives {kind.measure}, not a mass")
    if kind.degree != 1:
        raise FormulaError(f"{text!r} is not proportional to the quantity")
    unused = set(measures) - names - {QUANTITY}
    if unused:
        raise FormulaError(f"{text!r} does not use {', '.join(sorted(unused))}")
    return Formula(text=text, names=frozenset(names), tree=tree, measures=measures)


def _check(node: ast.expr, measures: Mapping[str, Measure]) -> _Kind:
    match node:
        case ast.Name(id=name) if name in measures:
            return _Kind(measures[name], int(name == QUANTITY))
        case ast.Name(id=name):
            raise FormulaError(f"{name} is no input; there are {', '.join(sorted(measures))}")
        case ast.Constant(value=int(value)) if type(value) is int:
            return _Kind(PLAIN, 0, zero=value == 0)
        case ast.Constant():
            raise FormulaError(f"{ast.unparse(node)} is not a whole number: a figure needs a name and a source")
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return _same(node, [_check(node.left, measures), _check(node.right, measures)])
        case ast.BinOp(op=ast.Mult()):
            left, right = _check(node.left, measures), _check(node.right, measures)
            return _Kind(left.measure.times(right.measure), left.degree + right.degree, left.zero or right.zero)
        case ast.BinOp(op=ast.Div()):
            left, right = _check(node.left, measures), _check(node.right, measures)
            if right.degree or right.zero:
                raise FormulaError(f"{ast.unparse(node)} divides by the quantity or by zero")
            return _Kind(left.measure.times(right.measure, sign=-1), left.degree, left.zero)
        case ast.Call(func=ast.Name(id="min" | "max"), args=[_, _, *_], keywords=[]):
            return _same(node, [_check(part, measures) for part in node.args])
    raise FormulaError(f"{ast.unparse(node)} is not part of the language: + - * / min max")


def _same(node: ast.expr, parts: list[_Kind]) -> _Kind:
    """Sums and comparisons join like with like."""
    told = [part for part in parts if not part.zero] or parts
    if len({(part.measure, part.degree) for part in told}) > 1:
        units = " with ".join(str(part.measure) for part in told)
        raise FormulaError(f"{ast.unparse(node)} joins {units}, or what depends on the quantity with what does not")
    return told[0]


def _evaluate(
    node: ast.expr, values: Mapping[str, Fraction], measures: Mapping[str, Measure], steps: list[Step]
) -> tuple[Fraction, Measure]:
    match node:
        case ast.Name(id=name):
            return values[name], measures[name]
        case ast.Constant(value=int(whole)):
            return Fraction(whole), PLAIN
        case ast.BinOp():
            left, of_left = _evaluate(node.left, values, measures, steps)
            right, of_right = _evaluate(node.right, values, measures, steps)
            result = _combine(node, left, right), _measure(node.op, of_left, of_right)
        case ast.Call(func=ast.Name(id=name)):
            parts = [_evaluate(part, values, measures, steps) for part in node.args]
            told = [measure for _, measure in parts if measure != PLAIN]
            result = (min if name == "min" else max)(value for value, _ in parts), told[0] if told else PLAIN
        case _:  # pragma: no cover - checked when it was parsed
            raise FormulaError(f"{ast.unparse(node)} is not part of the language")
    steps.append(Step(expression=ast.unparse(node), value=result[0], measure=result[1]))
    return result


def _combine(node: ast.BinOp, left: Fraction, right: Fraction) -> Fraction:
    match _SIGNS[type(node.op)]:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    if not right:
        raise FormulaError(f"{ast.unparse(node)} divides by zero")
    return left / right


def _measure(op: ast.operator, left: Measure, right: Measure) -> Measure:
    if isinstance(op, ast.Mult | ast.Div):
        return left.times(right, sign=1 if isinstance(op, ast.Mult) else -1)
    return left if left != PLAIN else right
