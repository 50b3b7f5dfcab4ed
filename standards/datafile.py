"""Read the project's own TOML data files row by row, with the line of each row for error messages.

I/O: reads files below `standards/data/` only.
"""

import re
import tomllib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, cast

DATA = Path(__file__).parent / "data"


class DataError(ValueError):
    """A data file breaks its own rules; the text begins with the file and, where known, the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One `[[table]]` of a data file; `finish` refuses the members that nobody asked for."""

    file: str
    line: int
    values: dict[str, Any]
    taken: set[str] = field(default_factory=set)

    def error(self, message: str) -> DataError:
        """Return the error to raise about this row."""
        return DataError(f"{self.file}:{self.line}: {message}")

    def text(self, name: str, allowed: frozenset[str] | None = None) -> str:
        """Return a member that must be a text which is not empty and, if given, one of the allowed ones."""
        value = self._take(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{name} is missing or empty")
        if allowed is not None and value not in allowed:
            raise self.error(f"{name} is {value!r}, not one of {', '.join(sorted(allowed))}")
        return value

    def text_or_none(self, name: str, allowed: frozenset[str] | None = None) -> str | None:
        """Return a text, if given one of the allowed ones, or None if the member is absent."""
        return self.text(name, allowed) if name in self.values else None

    def whole(self, name: str, *, default: int | None = None, minimum: int | None = None) -> int:
        """Return a whole number; a missing one is an error unless there is a default."""
        value = self._take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(f"{name} is missing or not a whole number")
        if minimum is not None and value < minimum:
            raise self.error(f"{name} is {value}, less than {minimum}")
        return value

    def whole_or_none(self, name: str, *, minimum: int | None = None) -> int | None:
        """Return a whole number, or None if the member is absent."""
        return self.whole(name, minimum=minimum) if name in self.values else None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"{name} is not true or false")
        return value

    def day(self, name: str) -> date:
        """Return a calendar date that must be there."""
        value = self._take(name)
        if type(value) is not date:
            raise self.error(f"{name} is missing or not a date")
        return value

    def day_or_none(self, name: str) -> date | None:
        """Return a calendar date, or None if the member is absent."""
        return self.day(name) if name in self.values else None

    def texts(self, name: str, *, required: bool = False, allowed: frozenset[str] | None = None) -> tuple[str, ...]:
        """Return a list of different texts; absent means empty, unless it is required."""
        value = self._take(name)
        value = [] if value is None and not required else value
        if not isinstance(value, list) or (required and not value):
            raise self.error(f"{name} is missing or not a list")
        if not all(isinstance(item, str) and item.strip() for item in value):
            raise self.error(f"{name} holds something that is not a text")
        unknown = set(value) - allowed if allowed is not None else set()
        if unknown or len(set(value)) != len(value):
            raise self.error(f"{name} holds unknown or repeated entries: {', '.join(sorted(unknown)) or value}")
        return tuple(value)

    def wholes(self, name: str) -> tuple[int, ...]:
        """Return a list of whole numbers that must be there."""
        value = self._take(name)
        if not isinstance(value, list) or not value or not all(type(item) is int for item in value):
            raise self.error(f"{name} is missing or not a list of whole numbers")
        return tuple(value)

    def tables(self, name: str) -> dict[str, "Row"]:
        """Return the named tables within the row, by name; absent means none."""
        value = self._take(name)
        value = {} if value is None else value
        if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
            raise self.error(f"{name} is not made of tables")
        return {key: Row(file=self.file, line=self.line, values=item) for key, item in value.items()}

    def inner_rows(self, name: str) -> list["Row"]:
        """Return a list of tables within the row, in order; absent means none."""
        value = self._take(name)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(f"{name} is not a list of tables")
        return [Row(file=self.file, line=self.line, values=item) for item in value]

    def finish(self) -> None:
        """Refuse members that no reader asked for: a misspelt member must not be silently ignored."""
        left = set(self.values) - self.taken
        if left:
            raise self.error(f"unknown members: {', '.join(sorted(left))}")

    def _take(self, name: str) -> Any:
        self.taken.add(name)
        return self.values.get(name)


def load_document(file: Path) -> dict[str, Any]:
    """Read one TOML file.

    Raises:
        DataError: it cannot be read or is not TOML.
    """
    try:
        # Numbers with a fraction come as text, so that no factor ever passes through a float.
        return tomllib.loads(file.read_text(encoding="utf-8"), parse_float=str)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise DataError(f"{file.name}: {cause}") from cause


def load_head(file: Path, tables: frozenset[str]) -> Row:
    """Read the members above the first table of a file; the file may have no other tables than these.

    Raises:
        DataError: there is a table of another name: a misspelt table must not be silently ignored.
    """
    document = load_document(file)
    unknown = {name for name, value in document.items() if _is_table(value)} - tables
    if unknown:
        raise DataError(f"{file.name}: unknown tables: {', '.join(sorted(unknown))}")
    return Row(file=file.name, line=1, values={name: v for name, v in document.items() if name not in tables})


def load_table(file: Path, table: str) -> Row:
    """Read the one `[table]` of this name, with the line of its header.

    Raises:
        DataError: the file has no such table, or it is not written as `[table]`.
    """
    values = load_document(file).get(table)
    lines = _header_lines(file, rf"\[\s*{re.escape(table)}\s*\]")
    if not isinstance(values, dict) or len(lines) != 1:
        raise DataError(f"{file.name}: there must be one [{table}]")
    return Row(file=file.name, line=lines[0], values=cast(dict[str, Any], values))


def load_rows(file: Path, table: str) -> list[Row]:
    """Read all `[[table]]` rows of a file, in order, each with the line of its header.

    Raises:
        DataError: the file has no such table, or its rows are not written as `[[table]]`.
    """
    tables = load_document(file).get(table)
    lines = _header_lines(file, rf"\[\[\s*{re.escape(table)}\s*\]\]")
    if not isinstance(tables, list) or len(tables) != len(lines):
        raise DataError(f"{file.name}: rows must be written as [[{table}]]")
    rows = cast(list[dict[str, Any]], tables)
    return [Row(file=file.name, line=line, values=values) for line, values in zip(lines, rows, strict=True)]


def _header_lines(file: Path, header: str) -> list[int]:
    pattern = re.compile(rf"{header}\s*(#.*)?")
    lines = file.read_text(encoding="utf-8").splitlines()
    return [number for number, text in enumerate(lines, 1) if pattern.fullmatch(text)]


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
