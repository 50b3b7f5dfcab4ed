"""Attestations that a person makes for themself: a signed statement of their total, to show to whom they like.

I/O: HTTP, the database.

    /attestations (all of them, and a form) -> POST -> /attestations/A (what it says) -> /attestations/A/download
                                                    -> POST /attestations/A/revoke

Those that recipients had made with the person's consent stand in the same list and are taken back in the same way.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from connectors.strict_json import MalformedJsonError, parse_object
from consent.details import ZONE
from consent.receipts import recipient_name
from hub.attestations.content import BY_CATEGORY, BY_REGION, GROUPS, SINGLE, Asked, parse_day
from hub.attestations.ending import Reason
from hub.attestations.issue import TooMany, issue_own
from hub.attestations.jwt import JwtInvalid, parse_public_key, public_members
from hub.attestations.store import (
    OWN,
    State,
    load_attestations,
    open_claims,
    open_statement,
    require_attestation,
    revoke_attestation,
    state_of,
)
from hub.attestations.tables import Attestation
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.portal.browser import Visit, go, grams, page
from hub.portal.forms import Form, person_of, person_of_form, take_form
from standards.behaviours import CATEGORIES
from standards.regions import load_regions

HERE = "/attestations"
OWN_PAGE = "请从本页提交。 Please send the form from this page."
TICK = "请至少勾选一项。 Tick at least one thing that it should say."
KEY = "持有者密钥应为 P-256 公钥（JWK）。 The holder's key must be a public key on P-256, as a JWK."
BOX = "say."
LABELS = {
    "cleared_mg": ("已核算总量", "Cleared total"),
    "final_mg": ("其中已终结", "Of it final"),
    "acts": ("行为次数", "Number of acts"),
    "platforms_count": ("平台数量", "Number of platforms"),
    "methodologies": ("方法学版本", "Methodology versions"),
    "policies": ("清分规则版本", "Clearing policy versions"),
    BY_CATEGORY: ("按行为类别", "By kind of act"),
    BY_REGION: ("按省份", "By province"),
}
CATEGORY_LABELS = {
    "clothing": ("衣", "clothing"), "food": ("食", "food"), "housing": ("住", "housing"), "travel": ("行", "travel"),
    "use": ("用", "use"), "office": ("办公", "office"), "finance": ("金融", "finance"),
}  # fmt: skip
STATES = {State.VALID: ("有效", "valid"), State.REVOKED: ("已撤销", "revoked"), State.EXPIRED: ("已过期", "over")}
REASONS = {
    Reason.BY_PERSON: ("由您撤销", "taken back by you"),
    Reason.CONSENT_ENDED: ("授权已结束", "your consent ended"),
    Reason.CONSENT_CHANGED: ("授权范围缩小", "you allow less now"),
    Reason.OVERSTATED: ("部分行为被撤回，总量不再成立", "acts were taken back, and it said too much"),
    Reason.BY_OPERATOR: ("由运营者撤销", "revoked by the operator"),
    Reason.ERASED: ("账户已注销", "the account was erased"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One attestation as its person sees it in the list and above its own page."""

    attestation_id: str
    recipient: str
    since: str
    until: str
    made: str
    expires: str
    state: str
    state_zh: str
    state_en: str
    why_zh: str
    why_en: str

    @property
    def is_valid(self) -> bool:
        return self.state == State.VALID


def attestations_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(HERE)
    def overview(request: Request) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _overview(hub, *found, None, 200)

    @router.get(f"{HERE}/{{attestation_id}}")
    def one(request: Request, attestation_id: str) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _one(hub, *found, attestation_id)

    @router.get(f"{HERE}/{{attestation_id}}/download")
    def download(request: Request, attestation_id: str) -> Response:
        """Hand out the statement itself, to the person alone."""
        found = person_of(hub, request, back=HERE)
        if isinstance(found, Response):
            return found
        with reading(hub.engine) as session:
            row = require_attestation(session, attestation_id, subject_id=found[1])
            statement = open_statement(session, hub.ring, row)
        name = f"tanlian-{row.created_at.astimezone(ZONE):%Y%m%d}-{attestation_id[4:12]}.sdjwt"
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return PlainTextResponse(statement, media_type="application/dc+sd-jwt", headers=headers)

    take_form(router, hub, HERE, _make)

    def revoke(hub: Hub, request: Request, form: Form) -> Response:
        return _revoke(hub, request, form, request.path_params["attestation_id"])

    take_form(router, hub, f"{HERE}/{{attestation_id}}/revoke", revoke)
    return router


def _make(hub: Hub, request: Request, form: Form) -> Response:
    def again(current: Visit, subject_id: int, problem: str, status: int) -> Response:
        return _overview(hub, current, subject_id, problem, status, form)

    found = person_of_form(
        hub, request, form, back=HERE, refuse=lambda current, subject_id: again(current, subject_id, OWN_PAGE, 403)
    )
    if isinstance(found, Response):
        return found
    current, subject_id = found
    try:
        issued = issue_own(hub, subject_id, _parse(form), now=hub.clock())
    except TooMany as refused:
        return again(current, subject_id, str(refused), 429)
    except (UsageProblem, JwtInvalid, MalformedJsonError) as refused:
        return again(current, subject_id, str(refused) if isinstance(refused, UsageProblem) else KEY, 400)
    return go(f"{HERE}/{issued.row.attestation_id}")


def _parse(form: Form) -> Asked:
    """Read the form; raises UsageProblem, and for the key JwtInvalid or MalformedJsonError."""
    disclose = tuple(name for name in _boxes() if form.get(BOX + name) == "yes")
    if not disclose:
        raise UsageProblem(TICK)
    key = form.get("key", "").strip()
    return Asked(
        since=parse_day(form.get("from", ""), "from"),
        until=parse_day(form.get("until", ""), "until"),
        disclose=disclose,
        holder=public_members(parse_public_key(parse_object(key.encode()))) if key else None,
    )


def _revoke(hub: Hub, request: Request, form: Form, attestation_id: str) -> Response:
    found = person_of_form(
        hub, request, form, back=HERE,
        refuse=lambda current, subject_id: _overview(hub, current, subject_id, OWN_PAGE, 403),
    )  # fmt: skip
    if isinstance(found, Response):
        return found
    with writing(hub.engine) as session:
        row = require_attestation(session, attestation_id, subject_id=found[1])
        revoke_attestation(session, row, Reason.BY_PERSON, hub.clock())
    return go(f"{HERE}/{attestation_id}")


def _overview(
    hub: Hub, current: Visit, subject_id: int, problem: str | None, status: int, form: Mapping[str, str] | None = None
) -> Response:
    now = hub.clock()
    today = now.astimezone(ZONE).date()
    with reading(hub.engine) as session:
        names: dict[str, str] = {}
        rows = load_attestations(session, subject_id=subject_id)
        for row in rows:
            if row.recipient not in names:
                names[row.recipient] = "" if row.recipient == OWN else recipient_name(session, row.recipient)
    sent = form or {"from": f"{today.year}-01-01", "until": today.isoformat(), f"{BOX}final_mg": "yes"}
    return page(
        "attestations.html", status=status, signed_in=True, csrf=current.info.csrf, problem=problem, today=today.isoformat(),
        sent={name: sent.get(name, "") for name in ("from", "until", "key")},
        boxes=[(BOX + name, *_label(name), sent.get(BOX + name) == "yes") for name in _boxes()],
        lines=[_line(row, names[row.recipient], now) for row in rows],
    )  # fmt: skip


def _one(hub: Hub, current: Visit, subject_id: int, attestation_id: str) -> Response:
    with reading(hub.engine) as session:
        row = require_attestation(session, attestation_id, subject_id=subject_id)
        statement = open_statement(session, hub.ring, row)
        name = "" if row.recipient == OWN else recipient_name(session, row.recipient)
    claims = open_claims(statement).claims
    return page(
        "attestation.html", signed_in=True, csrf=current.info.csrf, line=_line(row, name, hub.clock()), statement=statement,
        bound="cnf" in claims, subject=claims["sub"], issuer=claims["iss"],
        figures=[(*_label(path), _value(claims, path)) for path in json.loads(row.disclosed)],
    )  # fmt: skip


def _boxes() -> tuple[str, ...]:
    """The claims that the form offers. Provinces go together: which ones there are stands in the result."""
    return (*SINGLE, BY_REGION, *(f"{BY_CATEGORY}.{one}" for one in CATEGORY_LABELS if one in CATEGORIES))


def _label(path: str) -> tuple[str, str]:
    group, _, part = path.partition(".")
    zh, en = LABELS[group]
    if group not in GROUPS or not part:
        return zh, en
    if group == BY_CATEGORY:
        part_zh, part_en = CATEGORY_LABELS[part]
    else:
        place = load_regions().get(int(part)) if part.isdigit() else None
        part_zh, part_en = ("未说明", "not told") if place is None else (place.zh, place.en)
    return f"{zh}：{part_zh}", f"{en}: {part_en}"


def _value(claims: Mapping[str, object], path: str) -> str:
    group, _, part = path.partition(".")
    found = claims[group]
    if isinstance(found, dict) and part:
        found = found[part]
    if isinstance(found, int) and group.endswith("_mg"):
        return grams(found)
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def _line(row: Attestation, recipient: str, now: datetime) -> Line:
    state = state_of(row, now)
    why = REASONS.get(Reason(row.reason), ("", "")) if row.reason else ("", "")
    return Line(
        attestation_id=row.attestation_id, recipient=recipient, since=str(row.since), until=str(row.until),
        made=_minute(row.created_at), expires=f"{row.expires_at.astimezone(ZONE):%Y-%m-%d}", state=state.value,
        state_zh=STATES[state][0], state_en=STATES[state][1], why_zh=why[0], why_en=why[1],
    )  # fmt: skip


def _minute(at: datetime) -> str:
    return f"{at.astimezone(ZONE):%Y-%m-%d %H:%M}"
