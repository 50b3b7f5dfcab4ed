"""Grant Management for OAuth 2.0: a client sees and gives up its own grants, and no other's exists for it."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy import text
from tests_support.oauth import TYPE, Bank

from consent.grant_management import give_up_grant, query_grant
from consent.grants import GrantState, load_versions, pause_grant
from consent.requests import Answer
from consent.withdraw import withdraw_grant
from hub.db import reading, writing

QUERY, REVOKE = "grant_management_query", "grant_management_revoke"


def look(bank: Bank, grant_id: str) -> Answer:
    caller = bank.use(bank.token(QUERY), QUERY)
    with writing(bank.engine) as session:
        return query_grant(session, caller, grant_id)


def give_up(bank: Bank, grant_id: str) -> tuple[Answer, list[Any]]:
    caller = bank.use(bank.token(REVOKE), REVOKE)
    with writing(bank.engine) as session:
        return give_up_grant(session, caller, grant_id, now=bank.now)


def test_a_client_sees_what_its_grant_allows_and_nothing_of_the_person(bank: Bank, person: int) -> None:
    details = [{"type": TYPE, "actions": ["read"], "behaviours": ["MOB-BIKE"]}]
    given = bank.consented(person, authorization_details=details)
    answer = look(bank, given["grant_id"])
    told = json.loads(answer.body)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert told.keys() == {"scopes", "authorization_details", "created_at", "expires_at"}
    assert told["scopes"] == [{"scope": "account:read"}]
    assert told["authorization_details"] == given["authorization_details"]
    assert told["created_at"] == int(bank.now.timestamp()) < told["expires_at"]
    assert str(person) not in answer.body.decode()


def test_giving_up_ends_the_grant_and_every_token_of_it_at_once(bank: Bank, person: int) -> None:
    given, other = bank.consented(person), bank.consented(person)
    fresh = bank.refresh(given["refresh_token"]).document
    pending = bank.code(person, grant_management_action="merge", grant_id=other["grant_id"])
    answer, changes = give_up(bank, given["grant_id"])
    assert (answer.status, answer.body) == (204, b"")
    assert [one.what for one in changes] == ["grant.revoked"]
    assert [bank.works(one["access_token"]) for one in (given, fresh)] == [False, False]
    assert bank.refresh(given["refresh_token"]).outcome == (400, "invalid_grant")
    assert bank.introspect(given["access_token"]).document == {"active": False}
    with reading(bank.engine) as session:
        history = load_versions(session, grant_id=given["grant_id"], subject_id=person)
        alive = text("SELECT COUNT(*) FROM refresh_token WHERE revoked_at IS NULL AND grant_id = :g")
        assert session.execute(alive, {"g": given["grant_id"]}).scalar_one() == 0
    assert (history[-1].state, history[-1].reason) == (GrantState.REVOKED, "given up")
    assert bank.redeem(pending).status == 200, "another grant is another matter"


def test_a_grant_of_another_client_and_one_that_never_was_are_one_answer_to_the_byte(bank: Bank, person: int) -> None:
    given = bank.consented(person)
    other = Bank(bank.engine, bank.authority, bank.now)
    over = other.consented(person)["grant_id"]
    with writing(bank.engine) as session:
        withdraw_grant(session, grant_id=over, subject_id=person, now=bank.now)
    unknown = ["g_never", "", "x" * 500, "g\x00", "g\ud800", "授权"]
    answers = [look(other, one) for one in (given["grant_id"], over, *unknown)]
    given_up = [give_up(other, one) for one in (given["grant_id"], over, *unknown)]
    assert [changes for _, changes in given_up] == [[]] * len(given_up)
    told = {(one.status, tuple(one.headers.items()), one.body) for one in [*answers, *(one for one, _ in given_up)]}
    assert len(told) == 1
    assert next(iter(told))[0] == 404
    assert bank.works(given["access_token"])


def test_a_paused_grant_can_be_looked_at_and_given_up_but_not_built_on(bank: Bank, person: int) -> None:
    grant_id = bank.consented(person)["grant_id"]
    with writing(bank.engine) as session:
        pause_grant(session, grant_id=grant_id, subject_id=person, now=bank.now)
    assert look(bank, grant_id).status == 200
    merged = bank.push(grant_management_action="merge", grant_id=grant_id)
    assert (merged.status, merged.document["error"]) == (400, "invalid_grant_id")
    assert give_up(bank, grant_id)[0].status == 204
    assert look(bank, grant_id).status == 404


@pytest.mark.parametrize("has", [QUERY, REVOKE])
def test_looking_and_giving_up_take_a_scope_each(bank: Bank, has: str) -> None:
    token = bank.token(has)
    assert [bank.works(token, scope) for scope in (QUERY, REVOKE)] == [has == QUERY, has == REVOKE]


def test_of_eight_that_give_up_at_once_one_does_and_the_rest_find_none(bank: Bank, person: int) -> None:
    grant_id = bank.consented(person)["grant_id"]
    caller = bank.use(bank.token(REVOKE), REVOKE)
    barrier, statuses = threading.Barrier(8), []

    def end() -> None:
        barrier.wait()
        with writing(bank.engine) as session:
            statuses.append(give_up_grant(session, caller, grant_id, now=bank.now)[0].status)

    threads = [threading.Thread(target=end) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [204] + [404] * 7
