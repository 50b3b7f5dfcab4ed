"""A person decides: once, on what they were shown, never on more; and the client is told at its own address."""

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import Engine, text
from tests_support.oauth import ISSUER, TYPE, Bank, count_rows

from consent.authorize import Decision, DecisionRefused, approve, refuse
from consent.grants import Grant, GrantState, load_grants, load_versions, recently_refused
from consent.keyring import KeyRing
from consent.people import add_person
from consent.pushed import load_pushed
from consent.tables import AuthorizationCode, GrantVersion
from consent.terms import Assurance, Frequency, Purpose, Sensitive
from consent.withdraw import withdraw_grant
from hub.db import reading, writing

ALL = frozenset(Sensitive)
BIKE = {"type": TYPE, "actions": ["read"], "behaviours": ["MOB-BIKE"], "platforms": ["citic-carbon"]}
PLATE = {"type": TYPE, "actions": ["read"], "behaviours": ["FOOD-CLEANPLATE"], "platforms": ["beijing-green-life"]}
USE = {"type": TYPE, "actions": ["use"], "behaviours": ["FOOD-CLEANPLATE"], "platforms": ["citic-carbon"]}


@pytest.fixture
def other_person(engine: Engine, ring: KeyRing, bank: Bank) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="wang", password=None, display_name="W", now=bank.now).subject_id


def asked(bank: Bank, **changed: Any) -> str:
    told = bank.push(**changed)
    assert told.status == 201, told.document
    return str(told.document["request_uri"])


def grants_of(bank: Bank, subject_id: int) -> list[Grant]:
    with reading(bank.engine) as session:
        return load_grants(session, subject_id=subject_id)


def the_grant(bank: Bank, subject_id: int) -> Grant:
    (grant,) = grants_of(bank, subject_id)
    return grant


def test_a_yes_is_a_grant_of_exactly_what_was_shown_and_by_whom_it_was_decided(bank: Bank, person: int) -> None:
    detail = {**BIKE, "purpose": "积分", "frequency": "monthly", "from": "2026-10-01", "until": "2026-12-31"}
    told = bank.decide(person, asked(bank, authorization_details=[detail]))
    assert told.keys() == {"code", "state", "iss"}
    assert (told["state"], told["iss"]) == ("st", ISSUER)
    grant = the_grant(bank, person)
    assert (grant.state, grant.version, grant.assurance) == (GrantState.ACTIVE, 2, Assurance.PASSWORD)
    terms = grant.terms
    assert (terms.recipient, terms.client_id, terms.scope) == (bank.client_id, bank.client_id, "account:read")
    assert (terms.purposes, terms.behaviours, terms.platforms) == (
        {Purpose.DISCLOSE}, {"MOB-BIKE"}, {"citic-carbon"}
    )  # fmt: skip
    assert (terms.sensitive, terms.frequency) == ({Sensitive.WHEREABOUTS}, Frequency.MONTHLY)
    assert (terms.purpose_text, terms.notice_version, terms.language) == ("积分", "share-1@test", "en")
    assert bank.redeem(told["code"]).document["authorization_details"] == [detail]


def test_a_no_is_on_record_and_the_client_is_told_with_state_and_issuer(bank: Bank, person: int) -> None:
    told = bank.decide(person, asked(bank), yes=False)
    assert told == {"error": "access_denied", "state": "st", "iss": ISSUER}
    grant = the_grant(bank, person)
    assert (grant.state, grant.terms.recipient) == (GrantState.REFUSED, bank.client_id)
    assert count_rows(bank.engine, AuthorizationCode) == 0
    with reading(bank.engine) as session:
        within = bank.authority.look_back
        assert recently_refused(session, person, bank.client_id, bank.now, within)
        assert not recently_refused(session, person, "another", bank.now, within)


@pytest.mark.parametrize("yes", [True, False])
def test_an_address_with_a_query_of_its_own_keeps_it(bank: Bank, person: int, yes: bool) -> None:
    address = "https://bank.example/cb?kept=1"
    other = Bank(bank.engine, bank.authority, bank.now, redirect_uris=[address])
    request_uri = asked(other, redirect_uri=address)
    with writing(bank.engine) as session:
        pushed = load_pushed(session, client_id=other.client_id, request_uri=request_uri, now=bank.now)
        assert pushed is not None
        decision = Decision(
            subject_id=person, assurance=Assurance.PASSWORD, notice_version="n", language="en", agreed=ALL,
            chosen=frozenset({0}),
        )  # fmt: skip
        where, _ = (approve if yes else refuse)(session, pushed, decision, issuer=ISSUER, now=bank.now)
    assert where.startswith(address + "&")
    assert dict(parse_qsl(urlsplit(where).query))["kept"] == "1"


def test_a_request_is_decided_once_whichever_way(bank: Bank, person: int) -> None:
    for first in (True, False):
        request_uri = asked(bank)
        bank.decide(person, request_uri, yes=first)
        for again in (True, False):
            with pytest.raises(AssertionError, match="cannot be decided"):
                bank.decide(person, request_uri, yes=again)
    assert count_rows(bank.engine, AuthorizationCode) == 1


def test_of_sixteen_decisions_at_once_one_counts(bank: Bank, person: int) -> None:
    request_uri = asked(bank)
    with reading(bank.engine) as session:
        pushed = load_pushed(session, client_id=bank.client_id, request_uri=request_uri, now=bank.now)
    assert pushed is not None
    decision = Decision(
        subject_id=person, assurance=Assurance.PASSWORD, notice_version="n", language="en", agreed=ALL,
        chosen=frozenset({0}),
    )  # fmt: skip
    barrier, outcomes = threading.Barrier(16), []

    def decide(act: Callable[..., Any]) -> None:
        barrier.wait()
        try:
            with writing(bank.engine) as session:
                act(session, pushed, decision, issuer=ISSUER, now=bank.now)
            outcomes.append("decided")
        except DecisionRefused:
            outcomes.append("too late")

    threads = [threading.Thread(target=decide, args=(approve if n % 2 else refuse,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["decided"] + ["too late"] * 15
    assert len(grants_of(bank, person)) == 1
    assert count_rows(bank.engine, GrantVersion) == 2


NARROWED: list[tuple[frozenset[Sensitive], frozenset[int], set[str], set[str]]] = [
    (ALL, frozenset({0, 1}), {"MOB-BIKE", "FOOD-CLEANPLATE"}, {"citic-carbon", "beijing-green-life"}),
    (ALL, frozenset({0}), {"MOB-BIKE"}, {"citic-carbon"}),
    (ALL, frozenset({1}), {"FOOD-CLEANPLATE"}, {"beijing-green-life"}),
    (frozenset(), frozenset({0, 1}), {"FOOD-CLEANPLATE"}, {"beijing-green-life"}),
    (frozenset({Sensitive.FINANCIAL_ACCOUNT}), frozenset({0, 1}), {"FOOD-CLEANPLATE"}, {"beijing-green-life"}),
]


@pytest.mark.parametrize(("agreed", "chosen", "behaviours", "platforms"), NARROWED)
def test_what_was_not_ticked_is_not_allowed(
    bank: Bank,
    person: int,
    agreed: frozenset[Sensitive],
    chosen: frozenset[int],
    behaviours: set[str],
    platforms: set[str],
) -> None:
    given = bank.consented(person, authorization_details=[BIKE, PLATE], agreed=agreed, chosen=chosen)
    terms = the_grant(bank, person).terms
    assert (terms.behaviours, terms.platforms) == (behaviours, platforms)
    told = given["authorization_details"]
    assert {word for one in told for word in one["behaviours"]} == behaviours
    assert terms.sensitive <= agreed
    assert bank.introspect(given["access_token"]).document["authorization_details"] == told


@pytest.mark.parametrize(
    ("agreed", "chosen"), [(ALL, frozenset()), (frozenset(), frozenset({0})), (ALL, frozenset({7}))]
)
def test_a_yes_to_nothing_is_none_and_changes_nothing(
    bank: Bank, person: int, agreed: frozenset[Sensitive], chosen: frozenset[int]
) -> None:
    request_uri = asked(bank, authorization_details=[BIKE])
    with pytest.raises(DecisionRefused, match="nothing"):
        bank.decide(person, request_uri, agreed=agreed, chosen=chosen)
    assert grants_of(bank, person) == []
    assert "code" in bank.decide(person, request_uri)


def test_a_scope_whose_detail_was_not_ticked_is_not_given(bank: Bank, person: int) -> None:
    details, scope = [PLATE, USE], "account:read grams:use"
    given = bank.consented(person, scope=scope, authorization_details=details, chosen=frozenset({0}))
    assert given["scope"] == "account:read"
    assert the_grant(bank, person).terms.scope == "account:read"
    assert not bank.works(given["access_token"], "grams:use")
    assert bank.refresh(given["refresh_token"], scope="grams:use").outcome == (400, "invalid_scope")


def test_a_scope_that_no_shown_detail_speaks_of_is_not_given(bank: Bank, person: int) -> None:
    given = bank.consented(person, scope="account:read grams:use", authorization_details=[PLATE])
    assert given["scope"] == "account:read"


def test_where_the_only_ticked_detail_has_no_asked_scope_nothing_is_left(bank: Bank, person: int) -> None:
    request_uri = asked(bank, scope="account:read", authorization_details=[PLATE, USE])
    with pytest.raises(DecisionRefused, match="nothing"):
        bank.decide(person, request_uri, chosen=frozenset({1}))


def test_of_several_frequencies_the_rarest_holds_for_the_whole_grant(bank: Bank, person: int) -> None:
    order = [Frequency.ALWAYS, Frequency.DAILY, Frequency.WEEKLY, Frequency.MONTHLY, Frequency.ONCE]
    assert set(order) == set(Frequency)
    for rarer in range(1, len(order)):
        details = [{**BIKE, "frequency": order[rarer - 1]}, {**PLATE, "frequency": order[rarer]}]
        grant_id = bank.consented(person, authorization_details=details)["grant_id"]
        (grant,) = [one for one in grants_of(bank, person) if one.grant_id == grant_id]
        assert grant.terms.frequency == order[rarer]


def test_merging_adds_what_was_said_yes_to_and_keeps_the_rest(bank: Bank, person: int) -> None:
    first = bank.consented(person, authorization_details=[{**BIKE, "frequency": "once"}])
    merged = bank.consented(
        person, scope="account:read grams:use", authorization_details=[PLATE, USE], grant_management_action="merge",
        grant_id=first["grant_id"],
    )  # fmt: skip
    grant = the_grant(bank, person)
    assert merged["grant_id"] == first["grant_id"] == grant.grant_id
    assert len(merged["authorization_details"]) == 3
    assert set(grant.terms.scope.split()) == {"account:read", "grams:use"}
    assert grant.terms.behaviours == {"MOB-BIKE", "FOOD-CLEANPLATE"}
    assert grant.terms.frequency == Frequency.ONCE, "what was allowed once does not become more by another yes"
    with reading(bank.engine) as session:
        history = load_versions(session, grant_id=grant.grant_id, subject_id=person)
    assert [one.state for one in history] == [GrantState.REQUESTED, GrantState.ACTIVE, GrantState.ACTIVE]


def test_replacing_leaves_nothing_of_what_was_allowed_before(bank: Bank, person: int) -> None:
    first = bank.consented(person, scope="account:read grams:use", authorization_details=[BIKE, USE])
    replaced = bank.consented(
        person, authorization_details=[PLATE], grant_management_action="replace", grant_id=first["grant_id"]
    )
    grant = the_grant(bank, person)
    assert replaced["grant_id"] == grant.grant_id == first["grant_id"]
    assert [one["behaviours"] for one in replaced["authorization_details"]] == [["FOOD-CLEANPLATE"]]
    assert (grant.terms.scope, grant.terms.behaviours) == ("account:read", {"FOOD-CLEANPLATE"})


@pytest.mark.parametrize("action", ["merge", "replace"])
def test_what_was_issued_before_a_grant_changed_is_over(bank: Bank, person: int, action: str) -> None:
    wide = {"scope": "account:read grams:use", "authorization_details": [BIKE, USE]}
    first = bank.consented(person, **wide)
    grant_id = first["grant_id"]
    pending = bank.code(person, **wide, grant_management_action="merge", grant_id=grant_id)
    again = bank.consented(person, authorization_details=[PLATE], grant_management_action=action, grant_id=grant_id)
    assert not bank.works(first["access_token"])
    assert bank.refresh(first["refresh_token"]).outcome == (400, "invalid_grant")
    assert bank.redeem(pending).outcome == (400, "invalid_grant")
    assert bank.works(again["access_token"])
    assert bank.refresh(again["refresh_token"]).status == 200


@pytest.mark.parametrize("action", ["merge", "replace"])
def test_another_person_s_grant_is_not_changed_by_this_one(
    bank: Bank, person: int, other_person: int, action: str
) -> None:
    theirs = bank.consented(other_person, authorization_details=[BIKE])
    request_uri = asked(bank, grant_management_action=action, grant_id=theirs["grant_id"])
    with pytest.raises(DecisionRefused, match="not this person's"):
        bank.decide(person, request_uri)
    assert grants_of(bank, person) == []
    assert the_grant(bank, other_person).version == 2
    assert bank.works(theirs["access_token"])


@pytest.mark.parametrize("action", ["merge", "replace"])
def test_a_grant_that_ended_while_the_person_read_is_not_brought_back(bank: Bank, person: int, action: str) -> None:
    grant_id = bank.consented(person)["grant_id"]
    request_uri = asked(bank, grant_management_action=action, grant_id=grant_id)
    with writing(bank.engine) as session:
        withdraw_grant(session, grant_id=grant_id, subject_id=person, now=bank.now)
    with pytest.raises(DecisionRefused):
        bank.decide(person, request_uri)
    assert the_grant(bank, person).state is GrantState.REVOKED
    assert bank.push(grant_management_action=action, grant_id=grant_id).outcome == (400, "invalid_grant_id")


def test_creating_anew_leaves_the_older_grant_and_its_tokens(bank: Bank, person: int) -> None:
    first = bank.consented(person, authorization_details=[BIKE])
    second = bank.consented(person, authorization_details=[PLATE], grant_management_action="create")
    assert first["grant_id"] != second["grant_id"]
    assert bank.works(first["access_token"])
    assert bank.works(second["access_token"])


def test_ids_of_grants_tell_nothing_of_the_person(bank: Bank, person: int) -> None:
    ids = {bank.consented(person)["grant_id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(one) >= 22 and str(person) not in one for one in ids)
    with reading(bank.engine) as session:
        assert session.execute(text("SELECT COUNT(DISTINCT subject_id) FROM grant_version")).scalar_one() == 1
