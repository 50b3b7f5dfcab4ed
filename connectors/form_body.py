"""Forms from outside (`application/x-www-form-urlencoded`), without the tolerance of the standard parser. Pure.

Two readers of one signed form must not see different values: a name that comes twice, text that is no UTF-8 and a
percent sign that begins nothing are refused.
"""

import re
from urllib.parse import parse_qsl

MAX_FIELDS = 64
_WRITTEN = re.compile(rb"(?:[^%\x00-\x20\x7f-\xff]|%[0-9A-Fa-f]{2})*")


class MalformedFormError(ValueError):
    """The bytes are no strict form. `reason` is a stable code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_form(body: bytes) -> dict[str, str]:
    """Parse a form into its fields.

    Raises:
        MalformedFormError: not a form, a name twice, too many fields.

    Example:
        >>> parse_form(b"developerId=100&order=%7B%7D")
        {'developerId': '100', 'order': '{}'}
    """
    if not _WRITTEN.fullmatch(body):
        raise MalformedFormError("not_a_form")
    if body.count(b"&") >= MAX_FIELDS:
        raise MalformedFormError("too_many_fields")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise MalformedFormError("not_a_form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedFormError("duplicate_field")
    return fields
