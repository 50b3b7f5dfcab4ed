"""A request to the authorization server, and the answer, without a web framework. Pure.

Parameters come from the body alone, each at most once (RFC 6749 section 3.2). The address of a request is made from the
configured issuer, never from Host or X-Forwarded headers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload, OAuth2Request

FORM = "application/x-www-form-urlencoded"
FORM_BYTES = 64 * 1024
FORM_FIELDS = 40
NO_STORE = {"content-type": "application/json", "cache-control": "no-store", "pragma": "no-cache"}
# RFC 6749 section 5.2: what an error text may hold. Other bytes in a parameter would end as an error of ours.
_PLAIN = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
_VISIBLE = re.compile(r"[\x20-\x7e]*")
# Parameters that may hold more: `state` goes back as it came (RFC 6749 appendix A.5), the details are JSON.
_WIDER = {"state": _VISIBLE, "authorization_details": re.compile(r"[^\x00]*")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What HTTP brought: `proofs` are the DPoP headers, `certificate` the thumbprint of the client's TLS certificate."""

    path: str
    content_type: str
    body: bytes = field(repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)
    certificate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer without a framework. Commit the transaction whatever the status: a used assertion stays used."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class FormRequest(OAuth2Request):  # type: ignore[misc]
    """A POST whose parameters come from its body alone, each once."""

    def __init__(self, uri: str, form: dict[str, str], posted: Posted) -> None:
        super().__init__("POST", uri)
        self.payload = BasicOAuth2Payload(form)
        self.posted = posted
        self._form = form

    @property
    def form(self) -> dict[str, str]:
        return self._form


def parse_form(issuer: str, posted: Posted) -> FormRequest | Answer:
    """Read a form, an empty parameter as if it were absent; an Answer says what is wrong with it."""
    if posted.content_type.partition(";")[0].strip().lower() != FORM or len(posted.body) > FORM_BYTES:
        return invalid_request("the body must be a form")
    try:
        pairs = parse_qsl(
            posted.body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS, errors="strict"
        )
    except ValueError:
        return invalid_request("the form cannot be read")
    if len({name for name, _ in pairs}) != len(pairs):
        return invalid_request("a parameter is repeated")
    if not all(_WIDER.get(name, _PLAIN).fullmatch(value) for name, value in pairs):
        return invalid_request("a parameter holds a character that it may not")
    return FormRequest(issuer + posted.path, {name: value for name, value in pairs if value}, posted)


def answer_json(status: int, document: Any, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a JSON document that nobody may keep."""
    return Answer(status=status, headers={**NO_STORE, **(headers or {})}, body=json.dumps(document).encode())


def invalid_request(description: str) -> Answer:
    """Answer 400 `invalid_request`; the description is ASCII and repeats nothing that came."""
    return answer_json(400, {"error": "invalid_request", "error_description": description})
