"""The narrow door through which consent/ calls a platform: the caller brings the client. Pure but for the call.

The client that is passed in must reach registered origins only, follow no redirect and bound time and size; nothing
here repeats those checks. An answer is read strictly: a JSON object, no duplicate member, no NaN.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode, urlsplit

from consent.errors import ConsentError

ANSWER_BYTES = 64 * 1024


class AnswerInvalid(ConsentError):
    """The platform answered something that may not be used: another status, not JSON, or a member of another kind."""


class HttpAnswer(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Http(Protocol):
    """One whole request and answer. Raises its own errors for what may be retried."""

    def fetch(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> HttpAnswer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAnswer:
    """An answer taken apart; `document` is empty where there was nothing to read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    document: dict[str, Any] = field(repr=False)


def fetch_json(http: Http, url: str, *, headers: Mapping[str, str] | None = None) -> JsonAnswer:
    """GET a JSON object; only a good answer is read. Raises AnswerInvalid."""
    answer = http.fetch(url, headers={"accept": "application/json", **(headers or {})})
    document = _parse_object(answer.body) if answer.status == 200 else {}
    return JsonAnswer(status=answer.status, headers=answer.headers, document=document)


def post_form(http: Http, url: str, form: Mapping[str, str], *, headers: Mapping[str, str]) -> JsonAnswer:
    """POST a form; the JSON object of the answer, empty where there is none. Raises AnswerInvalid.

    What a server says while it is failing is not read: a gateway's page of excuses is no answer of the platform.
    """
    kind = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    answer = http.fetch(url, method="POST", headers={**kind, **headers}, content=urlencode(form).encode())
    told = answer.status < 500 and answer.body.strip()
    document = _parse_object(answer.body) if told else {}
    return JsonAnswer(status=answer.status, headers=answer.headers, document=document)


def require_text(document: Mapping[str, Any], name: str) -> str:
    """A member that must be a text and not empty. Raises AnswerInvalid."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerInvalid(f"no text member {name!r}")
    return value


def origin_of(url: str) -> str:
    """Scheme, host and port. Raises AnswerInvalid for an address that is no plain https one (or http on loopback)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as cause:
        raise AnswerInvalid("not an address") from cause
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or parts.username or parts.password or parts.fragment:
        raise AnswerInvalid("not a plain address")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise AnswerInvalid("not an https address")
    default = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{parts.hostname}:{port or default}"


def _parse_object(body: bytes) -> dict[str, Any]:
    if len(body) > ANSWER_BYTES:
        raise AnswerInvalid("the answer is too large")
    try:
        document = json.loads(body, object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as cause:
        raise AnswerInvalid("the answer is not JSON") from cause
    if not isinstance(document, dict):
        raise AnswerInvalid("the answer is not a JSON object")
    return document


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate member")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
