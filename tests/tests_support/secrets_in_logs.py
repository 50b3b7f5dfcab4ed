"""Listens, for the whole run, to every secret that is made and to every line that is logged.

What is watched: random tokens of 24 bytes and more (sessions, CSRF tokens, codes, states, verifiers, tokens of any kind,
key secrets), passwords that are hashed or checked, and the tokens that the town's platforms issue. Identifiers are shorter
and may be logged. What is logged: whatever structlog prints, and warnings and worse of the standard library's loggers,
which is what a hub in operation writes.
"""

import logging
import re
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

import pwdlib
import structlog

from hub.sandbox.platforms.tokens import Sealer

SECRET_BYTES = 24
METHODS = ("msg", "log", "debug", "info", "warn", "warning", "error", "critical", "fatal", "failure", "exception")
_WORD = re.compile(r"[A-Za-z0-9_.\-]{20,}")


class Watch(logging.Handler):
    """Secrets so far, and the lines since the last check."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.tokens: set[str] = set()
        self.phrases: set[str] = set()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def leaked(self) -> list[str]:
        """Return the lines that hold a secret, and forget all lines."""
        lines, self.lines = self.lines, []
        return [line for line in lines if self._holds_secret(line)]

    def _holds_secret(self, line: str) -> bool:
        # Words are looked up and not searched for: there are many secrets. `tat_` and the like stand before some.
        words = {part for word in _WORD.findall(line) for part in (word, word.partition("_")[2])}
        return bool(words & self.tokens) or any(phrase in line for phrase in self.phrases)


WATCH = Watch()


def install() -> None:
    """Begin to listen; once a process."""
    logging.getLogger().addHandler(WATCH)
    for name, least in (("token_urlsafe", SECRET_BYTES), ("token_hex", 32)):
        setattr(secrets, name, _recording_tokens(getattr(secrets, name), least))
    for name in METHODS:
        setattr(structlog.PrintLogger, name, _recording_lines(getattr(structlog.PrintLogger, name)))
    pwdlib.PasswordHash.hash = _recording_password(pwdlib.PasswordHash.hash)  # type: ignore[method-assign]
    checked = pwdlib.PasswordHash.verify_and_update
    pwdlib.PasswordHash.verify_and_update = _recording_password(checked)  # type: ignore[method-assign]
    sealed = Sealer.seal

    @wraps(sealed)
    def seal(*args: Any, **kwargs: Any) -> str:
        token = sealed(*args, **kwargs)
        WATCH.tokens.add(token)
        return token

    Sealer.seal = seal  # type: ignore[method-assign]


def _recording_tokens(make: Callable[..., str], least: int) -> Callable[..., str]:
    @wraps(make)
    def recording(nbytes: int | None = None) -> str:
        token = make(nbytes)
        if nbytes is None or nbytes >= least:
            WATCH.tokens.add(token)
        return token

    return recording


def _recording_lines(write: Callable[..., None]) -> Callable[..., None]:
    @wraps(write)
    def recording(self: Any, message: str) -> None:
        WATCH.lines.append(message)
        write(self, message)

    return recording


def _recording_password(use: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(use)
    def recording(self: Any, password: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(password, str) and len(password) >= 8:
            WATCH.phrases.add(password)
        return use(self, password, *args, **kwargs)

    return recording
