"""A linking that waits for the person's last word, kept sealed in the browser session. I/O: `web_session`."""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from consent.keyring import KeyRing
from consent.links import Tokens
from consent.platform_client import Attempt, Linked
from consent.seal import place
from consent.sessions import SessionInfo, save_state
from consent.terms import GrantTerms, format_terms, parse_terms

FIELD = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the platform told, before the person has confirmed it."""

    attempt: Attempt
    linked: Linked

    @classmethod
    def of_device(cls, *, subject_id: int, platform: str, account: str, terms: GrantTerms) -> "Waiting":
        """A linking without OAuth: the device's code has told the account, and there is no token to keep."""
        attempt = Attempt(subject_id=subject_id, platform=platform, redirect_uri="", verifier="", code="", terms=terms)
        return cls(attempt=attempt, linked=Linked(account=account, tokens=None, scope=""))


def keep_waiting(session: Session, ring: KeyRing, info: SessionInfo, waiting: Waiting) -> None:
    """Keep it in the session's row, sealed to that session and person."""
    tokens = waiting.linked.tokens
    document = {
        "subject_id": waiting.attempt.subject_id,
        "platform": waiting.attempt.platform,
        "terms": format_terms(waiting.attempt.terms),
        "account": waiting.linked.account,
        "scope": waiting.linked.scope,
        "tokens": None if tokens is None else {
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token,
            "expires_at": None if tokens.expires_at is None else tokens.expires_at.isoformat(),
        },
    }  # fmt: skip
    sealed = ring.seal(json.dumps(document).encode(), _place(info))
    save_state(session, info, {**info.state, FIELD: b64encode(sealed).decode()})


def forget_waiting(session: Session, info: SessionInfo) -> None:
    """The person has spoken: it cannot be confirmed a second time."""
    save_state(session, info, {name: value for name, value in info.state.items() if name != FIELD})


def load_waiting(ring: KeyRing, info: SessionInfo) -> Waiting | None:
    """Return what waits in this session, or None."""
    if FIELD not in info.state:
        return None
    document = json.loads(ring.open(b64decode(info.state[FIELD]), _place(info)))
    told = document["tokens"]
    tokens = None
    if told is not None:
        expires = told["expires_at"]
        tokens = Tokens(
            access_token=told["access_token"],
            refresh_token=told["refresh_token"],
            expires_at=None if expires is None else datetime.fromisoformat(expires),
        )
    attempt = Attempt(
        subject_id=document["subject_id"], platform=document["platform"], redirect_uri="", verifier="", code="",
        terms=parse_terms(document["terms"]),
    )  # fmt: skip
    return Waiting(attempt=attempt, linked=Linked(account=document["account"], tokens=tokens, scope=document["scope"]))


def _place(info: SessionInfo) -> bytes:
    return place("web_session", "waiting", info.token_hash, info.subject_id)
