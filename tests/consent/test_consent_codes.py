"""Codes and refresh tokens: a code is good once, for whom and what it was made; a refresh token lives as its grant does."""

import json
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import text, update
from sqlmodel import col
from tests_support.oauth import OTHER, REDIRECT, TYPE, VERIFIER, Bank, count_rows, dump

from consent.authorize import CODE_LIFE
from consent.clients import update_client
from consent.dpop import NonceWanted
from consent.grants import pause_grant, resume_grant
from consent.requests import FORM, Posted
from consent.tables import AccessToken, AuthorizationCode, OAuthClient, RefreshToken
from consent.tokens import TOKEN_LIFE, TokenRefused
from consent.withdraw import expire_due, withdraw_grant
from hub.db import writing


def test_a_code_becomes_tokens_for_the_person_s_grant(bank: Bank, person: int) -> None:
    told = bank.consented(person)
    assert told.keys() == {
        "access_token", "token_type", "expires_in", "scope", "refresh_token", "grant_id", "authorization_details"
    }  # fmt: skip
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("DPoP", 300, "account:read")
    info = bank.use(told["access_token"])
    assert info.grant is not None
    assert (info.grant.subject_id, info.grant.grant_id) == (person, told["grant_id"])
    assert TOKEN_LIFE.total_seconds() <= 300


def test_a_client_that_takes_no_refresh_tokens_gets_none(bank: Bank, person: int) -> None:
    other = Bank(bank.engine, bank.authority, bank.now, grant_types=["authorization_code"])
    assert "refresh_token" not in other.consented(person)
    assert count_rows(bank.engine, RefreshToken) == 0


WRONG: dict[str, dict[str, Any]] = {
    "no code": {"code": ...},
    "another code": {"code": "ac_never"},
    "no address": {"redirect_uri": ...},
    "another address": {"redirect_uri": REDIRECT + "2"},
    "no verifier": {"code_verifier": ...},
    "another verifier": {"code_verifier": "w" * 43},
    "a short verifier": {"code_verifier": "v" * 42},
    "an endless verifier": {"code_verifier": "v" * 129},
    "the challenge as its own verifier": {"code_verifier": "challenge"},
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_code_is_refused_with_anything_else_than_it_was_made_for_and_is_not_used_up(
    bank: Bank, person: int, name: str
) -> None:
    code = bank.code(person)
    told = bank.redeem(code, **WRONG[name])
    assert told.outcome == (400, "invalid_request" if name == "no code" else "invalid_grant")
    assert count_rows(bank.engine) == count_rows(bank.engine, RefreshToken) == 0
    assert bank.redeem(code).status == 200


def test_a_code_is_refused_to_another_client(bank: Bank, person: int) -> None:
    other = Bank(bank.engine, bank.authority, bank.now)
    code = bank.code(person)
    assert other.redeem(code).outcome == (400, "invalid_grant")
    assert bank.redeem(code).status == 200


def test_a_code_is_refused_with_another_key_than_the_request_s(bank: Bank, person: int) -> None:
    code = bank.code(person)
    stranger = bank.prove("POST", "/oauth/token", key=OTHER)
    assert bank.redeem(code, proofs=(stranger,)).outcome == (400, "invalid_grant")
    assert bank.redeem(code, proofs=()).outcome == (400, "invalid_dpop_proof")
    assert bank.redeem(code).status == 200


def test_a_code_of_a_request_without_a_key_is_bound_by_who_redeems_it(bank: Bank, person: int) -> None:
    code = bank.code(person, proofs=())
    told = bank.redeem(code, proofs=(bank.prove("POST", "/oauth/token", key=OTHER),))
    assert told.status == 200
    assert bank.use(told.document["access_token"], key=OTHER).binding.jkt == OTHER.thumbprint()


def test_a_code_is_good_for_a_minute_at_most(bank: Bank, person: int) -> None:
    assert timedelta(seconds=60) >= CODE_LIFE
    late, in_time = bank.code(person), bank.code(person)
    bank.now += CODE_LIFE - timedelta(seconds=1)
    assert bank.redeem(in_time).status == 200
    bank.now += timedelta(seconds=1)
    assert bank.redeem(late).outcome == (400, "invalid_grant")


@pytest.mark.parametrize("end", ["withdrawn", "paused"])
def test_a_code_whose_grant_is_over_gives_nothing(bank: Bank, person: int, end: str) -> None:
    code = bank.code(person)
    with writing(bank.engine) as session:
        grant_id = session.execute(text("SELECT grant_id FROM authorization_code")).scalar_one()
        step = withdraw_grant if end == "withdrawn" else pause_grant
        step(session, grant_id=grant_id, subject_id=person, now=bank.now)
    assert bank.redeem(code).outcome == (400, "invalid_grant")
    assert count_rows(bank.engine) == 0


def test_of_twenty_redemptions_at_once_one_gets_tokens_and_they_are_dead_afterwards(bank: Bank, person: int) -> None:
    fields = {
        "grant_type": "authorization_code", "code": bank.code(person), "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }  # fmt: skip
    sent = [(urlencode(bank.form(**fields)).encode(), bank.prove("POST", "/oauth/token")) for _ in range(20)]
    barrier, told = threading.Barrier(20), []

    def redeem(body: bytes, proof: str) -> None:
        barrier.wait()
        told.append(bank.send(Posted(path="/oauth/token", content_type=FORM, body=body, proofs=(proof,))))

    threads = [threading.Thread(target=redeem, args=one) for one in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.outcome for one in told) == [(200, "")] + [(400, "invalid_grant")] * 19
    assert (count_rows(bank.engine), count_rows(bank.engine, RefreshToken)) == (1, 1)
    (won,) = [one.document for one in told if one.status == 200]
    assert not bank.works(won["access_token"])
    assert bank.refresh(won["refresh_token"]).outcome == (400, "invalid_grant")


def test_a_replayed_code_ends_what_it_gave_and_what_that_gave_and_nothing_else(bank: Bank, person: int) -> None:
    other = bank.consented(person)
    code = bank.code(person)
    given = bank.redeem(code).document
    refreshed = bank.refresh(given["refresh_token"]).document
    bank.now += timedelta(seconds=90)
    assert bank.redeem(code).outcome == (400, "invalid_grant")
    assert [bank.works(one["access_token"]) for one in (given, refreshed, other)] == [False, False, True]
    assert bank.refresh(given["refresh_token"]).outcome == (400, "invalid_grant")
    assert bank.refresh(other["refresh_token"]).status == 200


def test_a_refresh_token_stays_the_same_and_is_not_told_again(bank: Bank, person: int) -> None:
    given = bank.consented(person)
    first, second = (bank.refresh(given["refresh_token"]) for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    assert "refresh_token" not in first.document
    assert first.document["access_token"] != second.document["access_token"]
    assert (first.document["grant_id"], first.document["scope"]) == (given["grant_id"], given["scope"])
    assert all(bank.works(one["access_token"]) for one in (given, first.document, second.document))


def test_a_refresh_token_is_good_for_its_client_and_its_key_only(bank: Bank, person: int) -> None:
    token = bank.consented(person)["refresh_token"]
    other = Bank(bank.engine, bank.authority, bank.now)
    other.proof_key = bank.proof_key
    stranger = bank.prove("POST", "/oauth/token", key=OTHER)
    assert other.refresh(token).outcome == (400, "invalid_grant")
    assert bank.refresh(token, proofs=(stranger,)).outcome == (400, "invalid_grant")
    assert bank.refresh(token, proofs=()).outcome == (400, "invalid_dpop_proof")
    assert bank.refresh(token, refresh_token=...).outcome == (400, "invalid_request")
    assert bank.refresh("rt_never").outcome == (400, "invalid_grant")
    assert bank.refresh(token).status == 200


def test_a_refresh_token_is_no_access_token_and_an_access_token_no_refresh_token(bank: Bank, person: int) -> None:
    given = bank.consented(person)
    assert not bank.works(given["refresh_token"])
    assert bank.refresh(given["access_token"]).outcome == (400, "invalid_grant")


def test_a_refresh_can_ask_for_less_and_never_for_more(bank: Bank, person: int) -> None:
    token = bank.consented(person, scope="account:read grams:use")["refresh_token"]
    assert bank.refresh(token, scope="account:read").document["scope"] == "account:read"
    for more in ("account:read records:write", "regulator", "everything"):
        assert bank.refresh(token, scope=more).outcome == (400, "invalid_scope"), more
    assert set(bank.refresh(token).document["scope"].split()) == {"account:read", "grams:use"}, (
        "less once is not for ever"
    )


def test_a_refresh_gives_no_scope_that_the_client_has_lost_since(bank: Bank, person: int) -> None:
    token = bank.consented(person, scope="account:read grams:use")["refresh_token"]
    with writing(bank.engine) as session:
        row = session.get_one(OAuthClient, bank.client_id)
        row.scope = "grams:use records:write"
    assert bank.refresh(token).document["scope"] == "grams:use"
    with writing(bank.engine) as session:
        session.execute(
            update(OAuthClient).where(col(OAuthClient.client_id) == bank.client_id).values(scope="regulator")
        )
    assert bank.refresh(token).outcome == (400, "invalid_scope")


@pytest.mark.parametrize("end", ["withdrawn", "over", "suspended"])
def test_a_refresh_token_dies_with_its_grant_and_its_client(bank: Bank, person: int, end: str) -> None:
    given = bank.consented(person)
    if end == "over":
        bank.now += timedelta(days=400)
    with writing(bank.engine) as session:
        if end == "withdrawn":
            withdraw_grant(session, grant_id=given["grant_id"], subject_id=person, now=bank.now)
        elif end == "suspended":
            session.get_one(OAuthClient, bank.client_id).suspended_at = bank.now
    refused = (401, "invalid_client") if end == "suspended" else (400, "invalid_grant")
    assert bank.refresh(given["refresh_token"]).outcome == refused
    assert not bank.works(given["access_token"])


def test_a_pause_stops_every_token_and_the_refresh_token_goes_on_after_it(bank: Bank, person: int) -> None:
    given = bank.consented(person)
    ids = {"grant_id": given["grant_id"], "subject_id": person, "now": bank.now}
    with writing(bank.engine) as session:
        pause_grant(session, **ids)
    assert bank.refresh(given["refresh_token"]).outcome == (400, "invalid_grant")
    assert not bank.works(given["access_token"])
    with writing(bank.engine) as session:
        resume_grant(session, **ids)
    assert bank.refresh(given["refresh_token"]).status == 200


def test_what_hangs_on_a_grant_is_ended_in_the_database_too_when_it_ends(bank: Bank, person: int) -> None:
    for end in ("withdrawn", "over"):
        given = bank.consented(person)
        with writing(bank.engine) as session:
            if end == "withdrawn":
                withdraw_grant(session, grant_id=given["grant_id"], subject_id=person, now=bank.now)
            else:
                expire_due(session, now=bank.now + timedelta(days=400))
            for table in (AccessToken, RefreshToken):
                living = f"SELECT COUNT(*) FROM {table.__tablename__} WHERE revoked_at IS NULL"
                assert session.execute(text(living)).scalar_one() == 0, (end, table)


def test_what_was_issued_is_nowhere_in_the_database(bank: Bank, person: int) -> None:
    code = bank.code(person, authorization_details=[{"type": TYPE, "purpose": "a word to find"}])
    given = bank.redeem(code).document
    refreshed = bank.refresh(given["refresh_token"]).document
    machine = bank.token()
    stolen = dump(bank.engine)
    assert "a word to find" in stolen, "the dump shows what is there"
    secrets = [code, given["access_token"], given["refresh_token"], refreshed["access_token"], machine, VERIFIER]
    assert [len(one) >= 43 for one in secrets] == [True] * len(secrets)
    assert [one for one in secrets if one in stolen or one[3:] in stolen] == []
    assert count_rows(bank.engine, AuthorizationCode) == 1


def test_a_token_of_a_client_with_a_certificate_is_bound_to_it(bank: Bank, person: int) -> None:
    certified = Bank(
        bank.engine, bank.authority, bank.now, tls_client_certificate_bound_access_tokens=True,
        dpop_bound_access_tokens=False,
    )  # fmt: skip
    assert certified.ask_token(proofs=()).outcome == (400, "invalid_request")
    told = certified.ask_token(proofs=(), certificate="thumbprint")
    assert (told.status, told.document["token_type"]) == (200, "Bearer")
    code = certified.code(person, proofs=())
    given = certified.redeem(code, proofs=(), certificate="thumbprint").document
    assert certified.introspect(given["access_token"]).document["cnf"] == {"x5t#S256": "thumbprint"}
    for certificate, status in (("other", 400), (None, 400), ("thumbprint", 200)):
        assert certified.refresh(given["refresh_token"], proofs=(), certificate=certificate).status == status
    with pytest.raises(TokenRefused):
        certified.use(given["access_token"])


def test_the_nonce_is_wanted_before_a_code_is_looked_at(bank: Bank, person: int) -> None:
    code = bank.code(person)
    told = bank.redeem(code, proofs=(bank.prove("POST", "/oauth/token", nonce=...),))
    assert told.outcome == (400, NonceWanted.error)
    assert bank.redeem(code).status == 200


def test_a_registration_that_is_narrowed_narrows_what_is_asked_next(bank: Bank, person: int) -> None:
    with writing(bank.engine) as session:
        row = session.get_one(OAuthClient, bank.client_id)
        update_client(session, bank.client_id, {**json.loads(row.registration), "scope": "grams:use"})
    assert bank.push(scope="account:read").outcome == (400, "invalid_scope")
    assert bank.consented(person, scope="grams:use")["scope"] == "grams:use"
