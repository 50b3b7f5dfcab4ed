"""What may never come out of a connector, whatever the case: looked at wherever something comes out. Pure."""

import json
import re
import traceback
from collections.abc import Collection, Sequence
from typing import Any

from connectors.base import ConnectorError, Reply
from hub.conformance.cases import require
from hub.sandbox.reports import Report

MARK = "text-of-the-platform-7f3a"
"""Stands in everything that the suite lets a platform say wrongly: it may come back in no error and no reply."""

SHORTEST_PRIVATE = 6
_REASON = re.compile(r"[a-z0-9]+(?:[_.:-][a-z0-9]+)*")
_HEADER = re.compile(r"[\x20-\x7e\x80-\xff]*")


def inspect_error(error: ConnectorError, secrets: Collection[str]) -> None:
    """Look at an error of the contract: a short stable code, and nothing of the platform or of ours."""
    is_code = isinstance(error.reason, str) and len(error.reason) <= 64 and _REASON.fullmatch(error.reason)
    require(is_code, "An error's reason is not a short stable code.")
    inspect_text("".join(traceback.format_exception(error)) + repr(error), "an error", secrets)


def inspect_text(text: str, where: str, secrets: Collection[str]) -> None:
    require(MARK not in text, f"The platform's own words stand in {where}; only our own may.")
    for secret in secrets:
        require(secret not in text, f"A secret or a token stands in {where}.")


def inspect_reply(reply: Reply, secrets: Collection[str], private: Collection[str]) -> None:
    """Look at an answer: it is one, it gives nothing away, and its headers cannot break out of it."""
    require(isinstance(reply, Reply) and isinstance(reply.body, bytes), "An answer is no Reply with bytes.")
    require(isinstance(reply.status, int) and 200 <= reply.status < 600, "A reply's status is none of HTTP.")
    for name, value in reply.headers.items():
        require(_HEADER.fullmatch(value) and _HEADER.fullmatch(name), "A reply's header could break the answer.")
    text = reply.body.decode("utf-8", "replace") + repr(dict(reply.headers))
    inspect_text(text, "a reply", secrets)
    for value in private:
        require(value not in text, "A reply repeats a personal value of a row.")


def private_values(rows: Sequence[Report], drops: Collection[str]) -> set[str]:
    """Return the values that stand in rows under names which the connector itself calls personal."""
    names = {name.rpartition(".")[2] for name in drops}
    found: set[str] = set()
    for row in rows:
        _collect(_parsed(row.body), names, found)
    return {value for value in found if len(value) >= SHORTEST_PRIVATE}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _collect(value: Any, names: set[str], found: set[str]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in names and isinstance(inner, str):
                found.add(inner)
            _collect(inner, names, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, names, found)
