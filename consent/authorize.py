"""A person's decision on a pushed request: a grant and a code, or a refusal. I/O: grants, codes.

The request is used up by the decision, whichever it is; of two decisions at once one wins. Where the answer goes was
registered and checked when the request was pushed: nothing that the browser brings decides it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from sqlalchemy.orm import Session

from consent.changes import Change
from consent.details import SCOPES, Detail, dump_details, load_details
from consent.errors import ConsentError
from consent.grants import (
    Grant,
    GrantConflict,
    IllegalTransition,
    activate_grant,
    amend_grant,
    find_client_grant,
    refuse_grant,
    request_grant,
)
from consent.keyring import token_hash
from consent.pushed import Asked, Pushed, use_up
from consent.tables import AuthorizationCode
from consent.terms import Assurance, GrantTerms, Sensitive, rarest, sensitive_classes
from consent.tokens import end_tokens_of_grant, new_token

CODE_LIFE = timedelta(seconds=60)  # FAPI 2.0 5.3.2.1-11


class DecisionRefused(ConsentError):
    """The decision cannot be taken: it was taken already, or nothing is left to allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided, and how they had shown who they are; the notice that they read."""

    subject_id: int
    assurance: Assurance
    notice_version: str
    language: str
    agreed: frozenset[Sensitive]
    chosen: frozenset[int]  # places of the details said yes to


def approve(
    session: Session, pushed: Pushed, decision: Decision, *, issuer: str, now: datetime
) -> tuple[str, list[Change]]:
    """Record the grant and return the address to send the browser to, with a code.

    Raises:
        DecisionRefused: nothing is changed then, if the caller rolls back.
    """
    details, scope = agreed_to(pushed, decision)
    pushed = replace(pushed, scope=scope)
    if not use_up(session, pushed, now):
        raise DecisionRefused("this request has been decided")
    grant, changes = _record(session, pushed, decision, details, now)
    code = new_token("ac")
    session.add(
        AuthorizationCode(
            code_hash=token_hash(code), client_id=pushed.client.client_id, subject_id=decision.subject_id,
            grant_id=grant.grant_id, redirect_uri=pushed.redirect_uri, code_challenge=pushed.code_challenge,
            dpop_jkt=pushed.dpop_jkt, scope=pushed.scope, created_at=now, expires_at=now + CODE_LIFE,
        )
    )  # fmt: skip
    session.flush()
    return answer_address(pushed, issuer=issuer, code=code), changes


def refuse(
    session: Session, pushed: Pushed, decision: Decision, *, issuer: str, now: datetime
) -> tuple[str, list[Change]]:
    """Record the refusal and return the address that tells the client."""
    return deny(session, pushed, issuer=issuer, now=now), record_refusal(session, pushed, decision, now)


def record_refusal(session: Session, asked: Asked, decision: Decision, now: datetime) -> list[Change]:
    """Put the no on record; what was refused is what was asked for, with every sensitive class that it touches."""
    everything = sensitive_classes(word for one in asked.details for word in one.behaviours)
    terms = _terms(asked, replace(decision, agreed=everything), asked.details)
    grant, requested = request_grant(session, subject_id=decision.subject_id, terms=terms, now=now)
    _, refused = refuse_grant(session, grant_id=grant.grant_id, subject_id=decision.subject_id, now=now)
    return [requested, refused]


def deny(session: Session, pushed: Pushed, *, issuer: str, now: datetime) -> str:
    """Tell the client of a no that is on record already. Raises DecisionRefused."""
    if not use_up(session, pushed, now):
        raise DecisionRefused("this request has been decided")
    return answer_address(pushed, issuer=issuer, error="access_denied")


def agreed_to(asked: Asked, decision: Decision) -> tuple[tuple[Detail, ...], str]:
    """What is left of the details and scopes. Raises DecisionRefused where that is nothing."""
    details = narrowed(asked.details, decision)
    # The page shows details and not scopes: a scope is given only if a detail that was said yes to speaks of it.
    actions = frozenset[str]().union(*(one.actions for one in details))
    scope = " ".join(word for word in asked.scope.split() if SCOPES[word] in actions)
    if not scope:
        raise DecisionRefused("nothing is left to allow")
    return details, scope


def answer_address(pushed: Pushed, *, issuer: str, **parameters: str) -> str:
    """The registered address with the answer, `state` as it came and `iss` (RFC 9207), in success and error alike."""
    answer = {**parameters, **({} if pushed.state is None else {"state": pushed.state}), "iss": issuer}
    parts = urlsplit(pushed.redirect_uri)
    query = "&".join(filter(None, [parts.query, urlencode(answer)]))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def narrowed(details: Sequence[Detail], decision: Decision) -> tuple[Detail, ...]:
    """The details said yes to, less the behaviours of sensitive classes that were not."""
    kept = [one.narrowed(decision.agreed) for place, one in enumerate(details) if place in decision.chosen]
    return tuple(one for one in kept if one.behaviours)


def _record(
    session: Session, pushed: Pushed, decision: Decision, details: tuple[Detail, ...], now: datetime
) -> tuple[Grant, list[Change]]:
    terms = _terms(pushed, decision, details)
    who: dict[str, Any] = {"subject_id": decision.subject_id, "now": now}
    if pushed.action == "create" or pushed.grant_id is None:
        grant, asked = request_grant(session, terms=terms, **who)
        given, change = activate_grant(session, grant_id=grant.grant_id, assurance=decision.assurance, **who)
        return given, [asked, change]
    before = find_client_grant(session, grant_id=pushed.grant_id, client_id=pushed.client.client_id)
    if before is None or before.subject_id != decision.subject_id:
        raise DecisionRefused("the grant to change is not this person's")
    if pushed.action == "merge":
        terms = _merged(before.terms, terms, details)
    try:
        amended, change = amend_grant(
            session, grant_id=before.grant_id, terms=terms, assurance=decision.assurance, **who
        )
    except (GrantConflict, IllegalTransition) as cause:
        raise DecisionRefused("the grant to change has just been changed or ended") from cause
    # Grant Management 5.2: what was issued under the old terms is not carried over.
    end_tokens_of_grant(session, before.grant_id, now=now)
    return amended, [change]


def _merged(before: GrantTerms, added: GrantTerms, details: tuple[Detail, ...]) -> GrantTerms:
    both = load_details(before.details) + details
    return replace(
        added,
        purposes=before.purposes | added.purposes,
        behaviours=before.behaviours | added.behaviours,
        platforms=before.platforms | added.platforms,
        sensitive=before.sensitive | added.sensitive,
        frequency=rarest([before.frequency, added.frequency]),
        purpose_text="\n".join(dict.fromkeys([*before.purpose_text.splitlines(), *added.purpose_text.splitlines()])),
        valid_from=min(before.valid_from, added.valid_from),
        valid_until=max(before.valid_until, added.valid_until),
        scope=" ".join(sorted({*before.scope.split(), *added.scope.split()})),
        details=dump_details(both),
    )


def _terms(asked: Asked, decision: Decision, details: tuple[Detail, ...]) -> GrantTerms:
    behaviours = _union(one.behaviours for one in details)
    return GrantTerms(
        recipient=asked.client.client_id,
        purposes=_union(one.purposes for one in details),
        behaviours=behaviours,
        platforms=_union(one.platforms for one in details),
        valid_from=min(one.since for one in details),
        valid_until=max(one.until for one in details),
        notice_version=decision.notice_version,
        language=decision.language,
        sensitive=decision.agreed & sensitive_classes(behaviours),
        frequency=rarest(one.frequency for one in details),
        purpose_text="\n".join(dict.fromkeys(one.purpose for one in details if one.purpose)),
        client_id=asked.client.client_id,
        scope=asked.scope,
        details=dump_details(details),
    )


def _union(sets: Iterable[frozenset[Any]]) -> frozenset[Any]:
    return frozenset().union(*sets)
