"""A table of a mapping file that knows where it stands, so that every mistake is told with file and field. Pure."""

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Any

from mappings.reader import Path, Paths


class MappingError(ValueError):
    """A mapping file breaks the rules; the text begins with the file and the field."""


@dataclass(slots=True, kw_only=True)
class Section:
    """One table; `finish` refuses the members that nobody asked for, so that a slip of the pen is never ignored."""

    file: str
    place: str
    values: Table[str, Any]
    taken: set[str] = field(default_factory=set)

    def error(self, name: str, message: str) -> MappingError:
        """Return the error to raise about a member, or about the section itself if the name is empty."""
        return MappingError(f"{self.file}: {self._at(name) or 'file'}: {message}")

    def has(self, name: str) -> bool:
        """Return whether the member is there."""
        return name in self.values

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self._take(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, "must be a text that is not empty")
        return value

    def word(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return a text that is one of the allowed ones."""
        value = self.text(name)
        if value not in allowed:
            raise self.error(name, f"unknown: {value!r} is not one of {', '.join(allowed)}")
        return value

    def whole(self, name: str) -> int:
        """Return a whole number."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(name, "must be a whole number")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of different texts, not empty."""
        value = self._take(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            raise self.error(name, "must be a list of texts that are not empty")
        if len(set(value)) != len(value):
            raise self.error(name, "lists something twice")
        return tuple(value)

    def path(self, name: str) -> Paths:
        """Return the names of one field: one path, or a list of alternatives; a dot goes one level down."""
        written = self.texts(name) if isinstance(self.values.get(name), list) else (self.text(name),)
        return tuple(self._path(name, path) for path in written)

    def path_list(self, name: str) -> tuple[Path, ...]:
        """Return a list of paths."""
        return tuple(self._path(name, path) for path in self.texts(name))

    def table(self, name: str) -> dict[str, Any]:
        """Return a table that is not empty."""
        value = self._take(name)
        if not isinstance(value, dict) or not value:
            raise self.error(name, "must be a table that is not empty")
        return value

    def section(self, name: str) -> "Section":
        """Return a table as a section."""
        return self._below(self._at(name), self.table(name))

    def sections(self, name: str) -> tuple["Section", ...]:
        """Return a list of tables as sections, numbered from 0; a single table counts as one of its kind."""
        value = self._take(name)
        if isinstance(value, dict):
            return (self._below(self._at(name), value),)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self.error(name, "must be a table or a list of tables")
        return tuple(self._below(f"{self._at(name)}[{i}]", item) for i, item in enumerate(value))

    def finish(self) -> None:
        """Refuse members that no reader asked for."""
        left = sorted(set(self.values) - self.taken)
        if left:
            raise self.error("", f"unknown key: {', '.join(left)}")

    def _at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place and name else self.place or name

    def _below(self, place: str, values: dict[str, Any]) -> "Section":
        return Section(file=self.file, place=place, values=values)

    def _path(self, name: str, written: str) -> Path:
        path = tuple(written.split("."))
        if not all(path):
            raise self.error(name, f"{written!r} is not a path")
        return path

    def _take(self, name: str) -> Any:
        self.taken.add(name)
        if name not in self.values:
            raise self.error(name, "is missing")
        return self.values[name]
