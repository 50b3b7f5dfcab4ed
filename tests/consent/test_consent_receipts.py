"""Receipts: each decision in writing, verifiable with the published keys alone, and readable by its person alone."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from consent.changes import Change
from consent.grants import (
    GrantState,
    activate_grant,
    amend_grant,
    pause_grant,
    refuse_grant,
    request_grant,
    resume_grant,
)
from consent.keyring import KeyRing, add_key, load_keyring
from consent.metadata import server_jwks
from consent.notices import current_notice
from consent.pairwise import pairwise_subject
from consent.people import add_person
from consent.receipts import (
    MOST_BYTES,
    TYPE,
    Receipt,
    ReceiptInvalid,
    ReceiptNotFound,
    has_receipt,
    issue_receipt,
    load_receipts,
    require_receipt,
    verify_receipt,
)
from consent.tables import OAuthClient, Person
from consent.tables import Receipt as ReceiptRow
from consent.terms import HUB, Assurance, GrantTerms
from consent.withdraw import expire_due, withdraw_grant
from hub.db import writing

ISSUER = "https://hub.example"
Terms = Callable[..., GrantTerms]


class Desk:
    """One person's grants, each change with its receipt."""

    def __init__(self, session: Session, keyring: KeyRing, now: datetime) -> None:
        self.session, self.keyring, self.now = session, keyring, now
        self.person = add_person(session, keyring, username="li", password=None, display_name="li", now=now)
        self.subject = self.person.subject_id

    def issue(self, changes: list[Change]) -> list[Receipt | None]:
        return [
            issue_receipt(
                self.session, self.keyring, grant_id=one.ids["grant_id"], version=int(one.ids["version"]), issuer=ISSUER
            )
            for one in changes
            if one.what.startswith("grant.")
        ]

    def give(self, terms: GrantTerms, assurance: Assurance = Assurance.PASSWORD) -> str:
        grant, asked = request_grant(self.session, subject_id=self.subject, terms=terms, now=self.now)
        _, given = activate_grant(
            self.session, grant_id=grant.grant_id, subject_id=self.subject, now=self.now, assurance=assurance
        )
        assert [one is None for one in self.issue([asked, given])] == [True, False]
        return grant.grant_id

    def claims(self) -> list[dict[str, Any]]:
        """What the receipts say, verified with nothing but the published keys."""
        found = load_receipts(self.session, self.keyring, subject_id=self.subject)
        return [verify_receipt(one.jws, server_jwks(self.keyring)) for one in found]


@pytest.fixture
def desk(engine: Engine, ring: KeyRing, now: datetime) -> Any:
    with writing(engine) as session:
        yield Desk(session, ring, now)


def test_every_decision_gets_a_receipt_that_says_which_it_was(desk: Desk, make_terms: Terms) -> None:
    grant = desk.give(make_terms())
    mine = {"grant_id": grant, "subject_id": desk.subject}
    later = desk.now + timedelta(days=1)
    for number, step in enumerate((pause_grant, resume_grant)):
        desk.issue([step(desk.session, **mine, now=later + timedelta(hours=number))[1]])
    narrowed = make_terms(purposes=frozenset())
    desk.issue([amend_grant(desk.session, **mine, terms=narrowed, now=later + timedelta(hours=2))[1]])
    desk.issue(withdraw_grant(desk.session, **mine, now=later + timedelta(hours=3)))
    states = [(one["event"]["event_type"], one["event"]["event_state"]) for one in desk.claims()]
    assert states == [
        ("given", "given"), ("paused", "changed"), ("resumed", "changed"), ("amended", "changed"),
        ("withdrawn", "withdrawn"),
    ]  # fmt: skip
    versions = [(one["record_metadata"]["version"], one["record_metadata"]["supersedes"]) for one in desk.claims()]
    assert versions == [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5)]


def test_a_refusal_an_expiry_and_another_s_ending_are_told_apart(desk: Desk, make_terms: Terms) -> None:
    asked, _ = request_grant(desk.session, subject_id=desk.subject, terms=make_terms(), now=desk.now)
    desk.issue([refuse_grant(desk.session, grant_id=asked.grant_id, subject_id=desk.subject, now=desk.now)[1]])
    superseded = desk.give(make_terms())
    ended = withdraw_grant(
        desk.session, grant_id=superseded, subject_id=desk.subject, now=desk.now, reason="superseded"
    )
    desk.issue(ended)
    desk.give(make_terms(valid_until=desk.now + timedelta(days=1)))
    desk.issue(expire_due(desk.session, now=desk.now + timedelta(days=2)))
    states = [one["event"]["event_state"] for one in desk.claims()]
    assert sorted(states) == ["expired", "given", "given", "refused", "terminated"]


def test_only_being_asked_has_no_receipt() -> None:
    assert {state for state in GrantState if not has_receipt(state)} == {GrantState.REQUESTED}


def test_a_receipt_says_all_of_the_record(desk: Desk, make_terms: Terms) -> None:
    notice = current_notice("link", "zh-CN")
    desk.give(
        make_terms(
            behaviours=frozenset({"MOB-BIKE", "FIN-EBILL", "FOOD-CLEANPLATE"}), notice_version=notice.version,
            language="zh-CN", data_life_days=30, purpose_text="count once",
        ),
        Assurance.PASSKEY,
    )  # fmt: skip
    (claims,) = desk.claims()
    processing, principal = claims["pii_processing"], claims["sub"]
    assert claims["iss"] == ISSUER
    assert claims["iat"] == int(desk.now.timestamp())
    assert claims["record_metadata"]["pii_principal_id"] == claims["event"]["entity_id"] == principal
    assert processing["privacy_notice"] == {
        "id": "link-2", "sha256": notice.sha256, "uri": f"{ISSUER}/notices/{notice.sha256}",
    }  # fmt: skip
    assert (processing["language"], processing["purpose_text"]) == ("zh-CN", "count once")
    assert [one["code"] for one in processing["purposes"]] == ["clear", "collect"]
    assert processing["pii_information"] == [
        {"pii_type": "FIN-EBILL", "sensitive_pii_category": "金融账户 financial account"},
        {"pii_type": "FOOD-CLEANPLATE"},
        {"pii_type": "MOB-BIKE", "sensitive_pii_category": "行踪轨迹 whereabouts"},
    ]
    assert processing["separate_consent"] == ["financial_account", "whereabouts"]
    assert processing["retention_period"] == {"unit": "day", "value": 30}
    assert (processing["jurisdiction"], processing["recipient_third_parties"]) == ("CN", [])
    assert processing["withdrawal_method"]["uri"] == f"{ISSUER}/consents"
    assert (claims["event"]["assurance"], processing["lawful_basis"]) == ("passkey", "consent")
    assert "oauth" not in claims


def test_a_client_s_receipt_names_it_and_what_it_was_granted(desk: Desk, make_terms: Terms) -> None:
    desk.session.add(
        OAuthClient(
            client_id="c_shop", client_name="Green Shop", scope="account:read", grant_types="[]", redirect_uris="[]",
            jwks="{}", registration="{}", created_at=desk.now,
        )
    )  # fmt: skip
    details = [{"type": "tanlian_account", "actions": ["read"]}]
    desk.give(
        make_terms(recipient="c_shop", client_id="c_shop", scope="account:read", details=json.dumps(details))
    )  # fmt: skip
    desk.give(make_terms())
    to_shop, to_hub = sorted(desk.claims(), key=lambda one: len(one["party_identification"]), reverse=True)
    assert to_shop["pii_processing"]["recipient_third_parties"] == ["Green Shop"]
    assert [one["party_role"] for one in to_shop["party_identification"]] == ["pii_controller", "recipient"]
    assert to_shop["oauth"]["authorization_details_granted"] == details
    assert to_shop["oauth"]["scope_granted"] == "account:read"
    assert to_shop["sub"] == pairwise_subject(desk.keyring, "c_shop", desk.subject)
    assert to_hub["sub"] == pairwise_subject(desk.keyring, HUB, desk.subject) != to_shop["sub"]


def test_no_receipt_holds_the_internal_id_or_the_name(desk: Desk, make_terms: Terms) -> None:
    desk.give(make_terms())
    (receipt,) = load_receipts(desk.session, desk.keyring, subject_id=desk.subject)
    payload = urlsafe_b64decode(receipt.jws.split(".")[1] + "==").decode()
    assert str(desk.subject) not in payload
    assert '"li"' not in payload
    row = desk.session.scalars(select(ReceiptRow)).one()
    assert row.digest == sha256(receipt.jws.encode()).digest() == receipt.digest
    assert b"pii_processing" not in row.jws_sealed


def test_the_header_names_type_algorithm_and_key(desk: Desk, make_terms: Terms) -> None:
    desk.give(make_terms())
    (receipt,) = load_receipts(desk.session, desk.keyring, subject_id=desk.subject)
    header = json.loads(urlsafe_b64decode(receipt.jws.split(".")[0] + "=="))
    assert header == {"alg": "ES256", "typ": TYPE, "kid": desk.keyring.signing_key.kid}


def test_what_an_older_key_signed_still_verifies_and_a_stranger_s_keys_do_not(
    engine: Engine, now: datetime, make_terms: Terms, tmp_path: Any
) -> None:
    before = load_keyring(tmp_path / "ring")
    with writing(engine) as session:
        desk = Desk(session, before, now)
        desk.give(make_terms())
        (receipt,) = load_receipts(session, before, subject_id=desk.subject)
    after = add_key(before, "oauth")
    assert verify_receipt(receipt.jws, server_jwks(after))["jti"] == receipt.receipt_id
    stranger = load_keyring(tmp_path / "other")
    with pytest.raises(ReceiptInvalid, match="signature"):
        verify_receipt(receipt.jws, server_jwks(stranger))


def encoded(document: Any) -> str:
    return urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def test_a_changed_statement_is_no_receipt(desk: Desk, make_terms: Terms) -> None:
    desk.give(make_terms())
    (receipt,) = load_receipts(desk.session, desk.keyring, subject_id=desk.subject)
    keys, (head, body, signature) = server_jwks(desk.keyring), receipt.jws.split(".")
    claims = json.loads(urlsafe_b64decode(body + "=="))
    longer = claims | {"pii_processing": claims["pii_processing"] | {"consent_expiry": "2099-01-01T00:00:00Z"}}
    none = encoded({"alg": "none", "typ": TYPE})
    kid = desk.keyring.signing_key.kid
    wrong = {
        "another end": f"{head}.{encoded(longer)}.{signature}",
        "no signature": f"{head}.{body}.",
        "algorithm none": f"{none}.{body}.",
        "another signature": f"{head}.{body}.{'A' * len(signature)}",
        "another type": jws.serialize_compact({"alg": "ES256", "typ": "JWT", "kid": kid}, b"{}", desk.keyring.signing_key),
        "no claims": jws.serialize_compact({"alg": "ES256", "typ": TYPE, "kid": kid}, b"[]", desk.keyring.signing_key),
        "an unknown key": jws.serialize_compact({"alg": "ES256", "typ": TYPE, "kid": "other"}, b"{}", ECKey.generate_key()),
        "no statement": "hello",
        "nothing": "",
        "too long": "a" * (MOST_BYTES + 1),
    }  # fmt: skip
    for what, statement in wrong.items():
        with pytest.raises(ReceiptInvalid):
            pytest.fail(f"{what}: {verify_receipt(statement, keys)}")
    assert verify_receipt(f"\n{receipt.jws}\n", keys) == claims


@pytest.mark.parametrize("keys", [{}, {"keys": 7}, {"keys": ["x"]}, {"keys": [{"kty": "EC"}]}, {"keys": []}])
def test_keys_that_are_none_verify_nothing(desk: Desk, make_terms: Terms, keys: dict[str, Any]) -> None:
    desk.give(make_terms())
    (receipt,) = load_receipts(desk.session, desk.keyring, subject_id=desk.subject)
    with pytest.raises(ReceiptInvalid):
        verify_receipt(receipt.jws, keys)


def test_a_receipt_is_its_person_s_alone_and_goes_with_them(desk: Desk, make_terms: Terms) -> None:
    grant = desk.give(make_terms())
    other = add_person(desk.session, desk.keyring, username="wang", password=None, display_name="w", now=desk.now)
    (receipt,) = load_receipts(desk.session, desk.keyring, subject_id=desk.subject)
    mine = require_receipt(desk.session, desk.keyring, receipt_id=receipt.receipt_id, subject_id=desk.subject)
    assert mine == receipt
    for name, whose in ((receipt.receipt_id, other.subject_id), ("r_unknown", desk.subject)):
        with pytest.raises(ReceiptNotFound):
            require_receipt(desk.session, desk.keyring, receipt_id=name, subject_id=whose)
    desk.session.get_one(Person, desk.subject).data_key = None
    desk.session.flush()
    assert load_receipts(desk.session, desk.keyring, subject_id=desk.subject) == []
    with pytest.raises(ReceiptNotFound):
        require_receipt(desk.session, desk.keyring, receipt_id=receipt.receipt_id, subject_id=desk.subject)
    # What ends after the key is gone has nobody left to receive it, and ends all the same.
    ended = withdraw_grant(desk.session, grant_id=grant, subject_id=desk.subject, now=desk.now)
    assert desk.issue(ended) == [None]


def test_terms_of_a_notice_that_was_never_kept_name_it_without_a_digest(desk: Desk, make_terms: Terms) -> None:
    desk.give(replace(make_terms(), notice_version="2026-11"))
    (claims,) = desk.claims()
    assert claims["pii_processing"]["privacy_notice"] == {"id": "2026-11"}
