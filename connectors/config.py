"""Reading a participant's settings into a connector's typed configuration. Pure.

Every field is named when it is wrong, an unknown field is an error (a misspelt limit must not become no limit), and no
value is ever in the error's text: half of them are secrets.
"""

import base64
import binascii
from collections.abc import Mapping
from types import TracebackType
from typing import Self


class ConfigError(ValueError):
    """A field of a connector's configuration or secrets is missing, unknown or wrong."""


class Fields:
    """Take the known fields out of a mapping; on leaving the block, whatever was not taken is an error.

    Example:
        >>> with Fields({"limit": 50}, where="config") as fields:
        ...     fields.whole("limit", default=100, least=1, most=500)
        50
    """

    def __init__(self, values: Mapping[str, object], *, where: str) -> None:
        self._left = dict(values)
        self._where = where

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._left:
            raise ConfigError(f"{self._where}: unknown field {sorted(self._left)[0]!r}")

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str) or not value or value != value.strip():
            raise self._wrong(name, "a text without blanks around it")
        return value

    def texts(self, name: str, *, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Read one text or a list of texts: keys overlap while they are rotated."""
        value = self._left.pop(name, default)
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
            raise self._wrong(name, "a text or a list of texts")
        if not items and default is None:
            raise self._wrong(name, "at least one text")
        return tuple(items)

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        value = self._left.pop(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def key(self, name: str, *, size_bytes: int) -> bytes:
        """Read a key that the peer's standard fixes as so many ASCII characters."""
        value = self.text(name).encode()
        if len(value) != size_bytes:
            raise self._wrong(name, f"{size_bytes} ASCII characters")
        return value

    def _wrong(self, name: str, expected: str) -> ConfigError:
        return ConfigError(f"{self._where}: field {name!r} must be {expected}")


def decode_base64(text: str, *, most: int) -> bytes | None:
    """Decode strict base64 of at most `most` bytes, or None: `b64decode` alone skips foreign characters."""
    if len(text) > 4 * (most + 2) // 3 + 3:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) <= most else None
