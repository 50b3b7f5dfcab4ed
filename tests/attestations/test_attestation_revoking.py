"""Attestations end: by the person, with the consent, when acts are taken back, with the person, by the operator."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from tests_support.attesting import (
    NOW,
    Recipient,
    correct_ride,
    jwks_of,
    list_of,
    own,
    payload_of,
    state_in_table,
)
from tests_support.oauth import TYPE
from tests_support.portal import Visitor as Browser
from tests_support.portal import give_password, visitor
from tests_support.rfc9901 import status_bit
from tests_support.web import Caller, count, look_up

from consent.details import Detail, dump_details, load_details
from consent.grants import amend_grant, load_grants, pause_grant
from consent.keyring import load_keyring
from consent.terms import GrantTerms
from consent.withdraw import expire_due, withdraw_grant
from hub.attestations.content import MOST_A_DAY, still_covers
from hub.attestations.issue import TooMany
from hub.attestations.lists import take_place
from hub.attestations.overstated import revoke_overstated
from hub.attestations.tables import StatusListRow
from hub.audit import audit, format_report
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import make_engine, writing
from hub.rights.erase import erase_person

REVOKED = "SELECT COUNT(*) FROM change_leaf WHERE kind = 'attestation.revoked'"


def bit(hub: Hub, statement: str) -> int:
    """Ask the published list with a reader that is not the hub's."""
    return status_bit(list_of(hub), jwks_of(hub)["jwks"], payload_of(statement)["status"])


def grant_of(hub: Hub, subject_id: int, client_id: str) -> Any:
    with writing(hub.engine) as session:
        return next(
            one for one in load_grants(session, subject_id=subject_id) if one.terms.recipient == client_id
        )  # fmt: skip


def amend(hub: Hub, subject_id: int, client_id: str, **changed: Any) -> None:
    grant = grant_of(hub, subject_id, client_id)
    details = tuple(replace(one, **changed) for one in load_details(grant.terms.details))
    terms: GrantTerms = replace(grant.terms, details=dump_details(details))
    with writing(hub.engine) as session:
        _, change = amend_grant(session, grant_id=grant.grant_id, subject_id=subject_id, terms=terms, now=NOW)
        log_consent_change(session, change, NOW, hub=hub)


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


def test_the_person_takes_it_back_and_the_list_says_so_at_once(hub: Hub, li: int, bank: Recipient) -> None:
    give_password(hub, "li")
    statement = bank.ask().json()["attestation"]
    kept = bank.ask(disclose=["acts"]).json()["attestation"]
    name = payload_of(statement)["jti"]
    browser = Browser(hub)
    browser.sign_in()
    assert bit(hub, statement) == 0
    answer = browser.call("DELETE", f"/v1/attestations/{name}", headers={"x-csrf-token": browser.csrf})
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "revoked", "by_person")
    assert (bit(hub, statement), bit(hub, kept)) == (1, 0)
    assert bank.see(f"/{name}").json()["state"] == "revoked"
    again = browser.post(f"/v1/attestations/{name}/revoke", headers={"x-csrf-token": browser.csrf})
    assert (again.status_code, look_up(hub, REVOKED)) == (200, [(1,)])
    require_sound(hub)


def test_nobody_but_the_person_takes_it_back(hub: Hub, li: int, bank: Recipient) -> None:
    give_password(hub, "li")
    name = payload_of(bank.ask().json()["attestation"])["jti"]
    path = f"/v1/attestations/{name}"
    stranger, browser = visitor(hub, "zhao"), Browser(hub)
    browser.sign_in()
    assert bank.machine.call("DELETE", path, bank.token).status_code == 403
    assert Caller(hub).call("DELETE", path).status_code == 403
    assert browser.call("DELETE", path).status_code == 403  # another site can make a browser send its cookie
    assert browser.call("DELETE", path, headers={"x-csrf-token": stranger.csrf}).status_code == 403
    assert stranger.call("DELETE", path, headers={"x-csrf-token": stranger.csrf}).status_code == 404
    assert state_in_table(hub, name) == (False, None)


def test_another_recipient_sees_nothing_of_it(hub: Hub, li: int, bank: Recipient) -> None:
    name = payload_of(bank.ask().json()["attestation"])["jti"]
    mine, _ = own(hub, li)
    other = Recipient.of(hub, li)
    assert other.see().json() == {"attestations": []}
    for hidden in (name, mine, "att_none"):
        assert other.see(f"/{hidden}").status_code == 404
    assert [one["attestation_id"] for one in bank.see().json()["attestations"]] == [name]


def test_a_withdrawn_consent_takes_with_it_what_was_attested_on_it_and_nothing_else(
    hub: Hub, li: int, bank: Recipient
) -> None:
    statement = bank.ask().json()["attestation"]
    _, mine = own(hub, li)
    other = Recipient.of(hub, li).ask().json()["attestation"]
    grant = grant_of(hub, li, bank.client_id)
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=grant.grant_id, subject_id=li, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)
    assert state_in_table(hub, payload_of(statement)["jti"]) == (True, "consent_ended")
    assert [bit(hub, one) for one in (statement, mine, other)] == [1, 0, 0]
    require_sound(hub)


def test_a_consent_that_runs_out_takes_it_too_and_a_pause_does_not(hub: Hub, li: int) -> None:
    shop = Recipient.of(hub, li, authorization_details=[{"type": TYPE, "actions": ["read"], "until": "2026-11-25"}])
    statement = shop.ask().json()["attestation"]
    grant = grant_of(hub, li, shop.client_id)
    with writing(hub.engine) as session:
        _, change = pause_grant(session, grant_id=grant.grant_id, subject_id=li, now=NOW)
        log_consent_change(session, change, NOW, hub=hub)
    assert bit(hub, statement) == 0
    later = NOW + timedelta(days=7)
    with writing(hub.engine) as session:
        for change in expire_due(session, now=later):
            log_consent_change(session, change, later, hub=hub)
    assert state_in_table(hub, payload_of(statement)["jti"]) == (True, "consent_ended")


def test_who_allows_less_than_was_attested_has_taken_it_back(hub: Hub, li: int, bank: Recipient) -> None:
    name = payload_of(bank.ask().json()["attestation"])["jti"]
    old = load_details(grant_of(hub, li, bank.client_id).terms.details)[0]
    amend(hub, li, bank.client_id, until=old.until + timedelta(days=30))
    assert state_in_table(hub, name) == (False, None)
    amend(hub, li, bank.client_id, behaviours=old.behaviours - {"MOB-BIKE"})
    assert state_in_table(hub, name) == (True, "consent_changed")
    require_sound(hub)


@pytest.mark.parametrize(
    ("changed", "covered"),
    [
        ({}, True),
        ({"behaviours": frozenset({"MOB-BIKE", "MOB-BUS", "MOB-METRO"})}, True),
        ({"behaviours": frozenset({"MOB-BIKE"})}, False),
        ({"platforms": frozenset({"other"})}, False),
        ({"actions": frozenset({"use"})}, False),
        ({"since": NOW + timedelta(days=1)}, False),
        ({"since": NOW - timedelta(days=1)}, True),  # of the attested days all are left
        ({"until": NOW + timedelta(hours=12)}, False),
        ({"until": NOW + timedelta(days=1)}, True),
    ],
)
def test_details_cover_what_was_attested_if_every_part_of_it_is_still_allowed(
    hub: Hub, li: int, bank: Recipient, changed: dict[str, Any], covered: bool
) -> None:
    whole = load_details(grant_of(hub, li, bank.client_id).terms.details)[0]
    old: Detail = replace(
        whole, behaviours=frozenset({"MOB-BIKE", "MOB-BUS"}), platforms=frozenset({"a"}),
        since=NOW - timedelta(days=30), until=NOW + timedelta(days=30),
    )  # fmt: skip
    begin, end = NOW, NOW + timedelta(days=1)
    assert still_covers([replace(old, **changed)], [old], begin=begin, end=end) is covered
    assert still_covers([], [replace(old, actions=frozenset({"use"}))], begin=begin, end=end)


def test_an_act_that_is_taken_back_takes_every_attestation_that_now_says_too_much(
    hub: Hub, li: int, bank: Recipient
) -> None:
    within, statement = own(hub, li, "acts", since=date(2026, 11, 15), until=date(2026, 11, 16))
    beside, _ = own(hub, li, "acts", since=date(2026, 11, 17))
    theirs = payload_of(bank.ask().json()["attestation"])["jti"]
    correct_ride(hub, "2", 16, distance=1000)
    assert state_in_table(hub, within) == (True, "overstated")
    assert state_in_table(hub, theirs) == (True, "overstated")
    assert state_in_table(hub, beside) == (False, None)
    assert bit(hub, statement) == 1
    require_sound(hub)


def test_what_became_more_is_not_overstated_and_an_attestation_made_afterwards_stands(hub: Hub, li: int) -> None:
    before, _ = own(hub, li, "cleared_mg", since=date(2026, 11, 18), until=date(2026, 11, 18))
    correct_ride(hub, "3", 18, distance=3000)
    assert state_in_table(hub, before) == (False, None)
    correct_ride(hub, "3", 18, name="d10", ver=3, status="CANCELLED")
    assert state_in_table(hub, before) == (True, "overstated")
    after, _ = own(hub, li, "cleared_mg", until=date(2026, 11, 17))
    with writing(hub.engine) as session:
        assert revoke_overstated(session, li, NOW) == []
        assert revoke_overstated(session, 7, NOW) == []
    assert state_in_table(hub, after) == (False, None)
    require_sound(hub)


def test_what_was_attested_for_a_recipient_is_set_against_what_that_recipient_could_see(hub: Hub, li: int) -> None:
    shop = Recipient.of(
        hub, li, authorization_details=[{"type": TYPE, "actions": ["read"], "behaviours": ["MOB-BIKE"]}]
    )  # fmt: skip
    name = payload_of(shop.ask(disclose=["acts"], until="2026-11-16").json()["attestation"])["jti"]
    correct_ride(hub, "2", 16, distance=1000)
    # The charge of the seventeenth would make up for it, but is none of this recipient's business.
    assert state_in_table(hub, name) == (True, "overstated")


def test_with_the_person_their_attestations_are_revoked_and_forgotten(hub: Hub, li: int, bank: Recipient) -> None:
    _, mine = own(hub, li)
    theirs = bank.ask().json()["attestation"]
    earlier, _ = own(hub, li)
    erase_person(hub, li, now=NOW + timedelta(minutes=1))
    assert [bit(hub, one) for one in (mine, theirs)] == [1, 1]
    assert look_up(
        hub, "SELECT DISTINCT since, until, cleared_mg, final_mg, disclosed, length(statement_sealed), reason FROM attestation"
    ) == [(None, None, None, None, "[]", 0, "erased")]  # fmt: skip
    assert state_in_table(hub, earlier)[0]
    told = str(look_up(hub, "SELECT b.data FROM log_body b JOIN log_leaf l ON l.leaf_id = b.leaf_id "
                            "WHERE l.kind = 'attestation.revoked'"))  # fmt: skip
    assert "erased" not in told
    require_sound(hub)


def test_of_many_at_once_no_more_are_made_than_a_day_allows_and_each_has_its_own_place(hub: Hub, li: int) -> None:
    start = threading.Barrier(4)

    def make(_number: int) -> int:
        process = replace(hub, engine=make_engine(hub.settings.database_url), ring=load_keyring(hub.settings.keys_dir))
        start.wait()
        made = 0
        try:
            for _ in range(4):
                own(process, li, "acts")
                made += 1
        except TooMany:
            return made
        finally:
            process.engine.dispose()
        return made

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(make, range(4)))
    assert made == MOST_A_DAY
    assert look_up(hub, "SELECT COUNT(*), COUNT(DISTINCT list_index) FROM attestation") == [(MOST_A_DAY, MOST_A_DAY)]
    require_sound(hub)


def test_a_list_takes_no_more_than_half_of_its_room_and_then_the_next_begins(hub: Hub, li: int) -> None:
    with writing(hub.engine) as session:
        first, index = take_place(session, now=NOW)
        assert (first, 0 <= index < 2**17) == (1, True)
        session.get_one(StatusListRow, 1).used = 2**16
    with writing(hub.engine) as session:
        assert take_place(session, now=NOW)[0] == 2
    assert count(hub, "status_list") == {"status_list": 2}


def test_places_are_never_given_twice(hub: Hub, li: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = iter([5, 5, 5, 9])
    monkeypatch.setattr("hub.attestations.lists.secrets.randbelow", lambda _size: next(dice))
    own(hub, li, "acts")
    own(hub, li, "acts")
    assert look_up(hub, "SELECT list_index FROM attestation ORDER BY list_index") == [(5,), (9,)]


def test_every_list_is_as_long_and_may_be_kept_for_a_minute(hub: Hub, li: int) -> None:
    own(hub, li)
    answer = Caller(hub).get("/v1/status-lists/1")
    assert answer.headers["content-type"] == "application/statuslist+jwt"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert len(answer.text) < 1000
    for missing in ("2", "0", "x", "99999999999"):
        assert Caller(hub).get(f"/v1/status-lists/{missing}").status_code in (404, 422)
