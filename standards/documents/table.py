"""Tables of text: how values become cells, and cells CSV (RFC 4180) or Markdown. Pure.

No number passes through a float: whole numbers and exact fractions become decimal text.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction

from standards.datafile import DataError

# Between the parts of a cell that holds several.
BETWEEN = "; "
# Spreadsheets take a cell that begins so for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_MARKS = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "*": "\\*", "`": "\\`", "[": "\\[", "\n": " "})
_EXACT_DIGITS, _ABOUT_DIGITS = 60, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under named columns; an empty cell says that there is no value."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def make_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table of these values.

    Raises:
        DataError: a value cannot be told in a cell, or a row has too many or too few.
    """
    told = tuple(tuple(cell(value) for value in row) for row in rows)
    if any(len(row) != len(columns) for row in told):
        raise DataError(f"a row has not {len(columns)} cells")
    return Table(columns=tuple(columns), rows=told)


def cell(value: object) -> str:
    """Return a value as the text of a cell.

    Raises:
        DataError: a spreadsheet would take it for a formula, a part of several holds the separator, or the type has no
            exact text.
    """
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case str():
            text = value
        case int() | Fraction():
            text = exact_text(Fraction(value))
        case date():
            text = value.isoformat()
        case tuple():
            parts = [cell(part) for part in value]
            if any(BETWEEN.strip() in part for part in parts):
                raise DataError(f"one of {parts} holds the sign that separates them")
            text = BETWEEN.join(parts)
        case _:
            raise DataError(f"{type(value).__name__} has no exact text")
    if text.startswith(_FORMULAS):
        raise DataError(f"a spreadsheet would take {text!r} for a formula")
    return text


def exact_text(value: Fraction) -> str:
    """Return an exact number: as a decimal where it ends, else as a fraction with its rounded decimal.

    Example:
        >>> exact_text(Fraction(82, 5)), exact_text(Fraction(1, 3))
        ('16.4', '1/3 (about 0.33333333)')
    """
    with localcontext() as exact:
        rest = value.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        exact.prec = _EXACT_DIGITS if rest == 1 else _ABOUT_DIGITS
        decimal = f"{(Decimal(value.numerator) / Decimal(value.denominator)).normalize():f}"
    return decimal if rest == 1 else f"{value.numerator}/{value.denominator} (about {decimal})"


def csv_bytes(table: Table) -> bytes:
    """Return the table as CSV by RFC 4180: a header, lines that end in CR LF, quotes where they are needed; UTF-8."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return out.getvalue().encode()


def markdown_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of Markdown, with signs that mean something there made harmless; ends in a line break."""
    table = make_table(columns, rows)
    lines = [table.columns, tuple("---" for _ in table.columns), *(tuple(map(marked, row)) for row in table.rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def marked(text: str) -> str:
    """Return a text in which no sign is taken for a mark of Markdown or HTML."""
    return text.translate(_MARKS)
