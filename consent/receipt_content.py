"""What a receipt says, in the fields of ISO/IEC TS 27560, as far as there is something to put in them. Pure.

A receipt is the person's own proof, outside of the dashboard: what was decided, in which words it was asked, who may do
what until when, and how to take it back. It names the person by an id that differs per recipient, so that receipts of
two recipients laid side by side do not show that they are of one person.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consent.grants import Grant, GrantState
from consent.notices import find_notice
from consent.terms import HUB, Assurance, Sensitive, sensitive_class

SCHEMA = "tanlian-receipt/1"
FRAMEWORK = "ISO/IEC TS 27560:2023"
WITHDRAWN = "withdrawn"
SENSITIVE_NAMES = {  # the classes as PIPL article 28 calls them
    Sensitive.WHEREABOUTS: "行踪轨迹 whereabouts",
    Sensitive.FINANCIAL_ACCOUNT: "金融账户 financial account",
}
LAWFUL_BASES = {Assurance.GUARDIAN: "guardian_consent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a receipt says that is not in the grant: who issues it, to whom, about which recipient."""

    receipt_id: str
    issuer: str
    principal_id: str
    recipient_name: str
    issued_at: datetime


def event_of(grant: Grant) -> tuple[str, str]:
    """Return the event's type and state for a version of a grant; the states are those of ISO/IEC TS 27560."""
    match grant.state:
        case GrantState.ACTIVE:
            return ("given", "given") if grant.reason == "given" else (grant.reason, "changed")
        case GrantState.REVOKED:
            return (grant.reason, "withdrawn" if grant.reason == WITHDRAWN else "terminated")
        case GrantState.PAUSED:
            return ("paused", "changed")
        case GrantState.REFUSED | GrantState.EXPIRED | GrantState.REQUESTED:
            return (grant.state.value, grant.state.value)


def receipt_content(grant: Grant, setting: Setting) -> dict[str, Any]:
    """Return the claims of the receipt of one version of a grant."""
    claims: dict[str, Any] = {
        "iss": setting.issuer,
        "iat": int(setting.issued_at.timestamp()),
        "jti": setting.receipt_id,
        "sub": setting.principal_id,
        "receipt_metadata": {"schema_version": SCHEMA, "framework": FRAMEWORK, "receipt_id": setting.receipt_id},
        "record_metadata": {
            "record_id": grant.grant_id,
            "version": grant.version,
            "supersedes": grant.version - 1,
            "pii_principal_id": setting.principal_id,
            "created_at": _instant(grant.created_at),
        },
        "pii_processing": _processing(grant, setting),
        "party_identification": _parties(grant, setting),
        "event": _event(grant, setting),
    }
    terms = grant.terms
    if terms.client_id is not None:
        claims["oauth"] = {
            "client_id": terms.client_id,
            "grant_id": grant.grant_id,
            "scope_granted": terms.scope,
            "authorization_details_granted": json.loads(terms.details),
        }
    return claims


def _processing(grant: Grant, setting: Setting) -> dict[str, Any]:
    terms, notice = grant.terms, find_notice(grant.terms.notice_version)
    privacy_notice: dict[str, Any] = {"id": terms.notice_version.partition("@")[0]}
    if notice is not None:
        privacy_notice |= {"sha256": notice.sha256, "uri": f"{setting.issuer}/notices/{notice.sha256}"}
    purposes: list[dict[str, str]] = [{"code": purpose.value} for purpose in sorted(terms.purposes)]
    processing: dict[str, Any] = {
        "privacy_notice": privacy_notice,
        "language": terms.language,
        "purposes": purposes,
        "lawful_basis": LAWFUL_BASES.get(grant.assurance, "consent"),
        "separate_consent": sorted(word.value for word in terms.sensitive),
        "pii_information": [_information(behaviour) for behaviour in sorted(terms.behaviours)],
        "pii_sources": sorted(terms.platforms),
        "consent_start": _instant(terms.valid_from),
        "consent_expiry": _instant(terms.valid_until),
        "frequency": terms.frequency.value,
        "jurisdiction": "CN",
        "recipient_third_parties": [] if terms.recipient == HUB else [setting.recipient_name],
        "withdrawal_method": {"uri": f"{setting.issuer}/consents", "steps": ["open My consents", "press Withdraw"]},
    }
    if terms.purpose_text:
        processing["purpose_text"] = terms.purpose_text
    if terms.data_life_days is not None:
        processing["retention_period"] = {"unit": "day", "value": terms.data_life_days}
    return processing


def _information(behaviour: str) -> dict[str, str]:
    found = sensitive_class(behaviour)
    return {"pii_type": behaviour} | ({} if found is None else {"sensitive_pii_category": SENSITIVE_NAMES[found]})


def _parties(grant: Grant, setting: Setting) -> list[dict[str, str]]:
    hub = {"party_id": HUB, "party_name": "Tanlian 碳联", "party_url": setting.issuer, "party_role": "pii_controller"}
    if grant.terms.recipient == HUB:
        return [hub]
    return [
        hub,
        {"party_id": grant.terms.recipient, "party_name": setting.recipient_name, "party_role": "recipient"},
    ]


def _event(grant: Grant, setting: Setting) -> dict[str, str]:
    event_type, event_state = event_of(grant)
    return {
        "event_time": _instant(grant.created_at),
        "event_type": event_type,
        "event_state": event_state,
        "valid_until": _instant(grant.terms.valid_until),
        "entity_id": setting.principal_id,
        "assurance": grant.assurance.value,
    }


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
