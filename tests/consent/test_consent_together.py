"""Requests that are committed together: as if each had come alone, for a handful of statements."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session
from tests_support.oauth import REDIRECT, VERIFIER, Bank, Told, count_rows

from consent.keyring import token_hash
from consent.requests import FORM, Posted
from consent.server import answer_form
from consent.tables import RefreshToken, UsedJti
from consent.together import GroupCommit
from hub.db import reading, writing

CLIENT_CREDENTIALS = {"grant_type": "client_credentials", "scope": "records:write"}
WAIT_S = 30


class Crowd:
    """Sends requests that come while another is being committed, so that they share the next transaction."""

    def __init__(self, bank: Bank) -> None:
        self.bank, self.opened = bank, 0
        self.group = GroupCommit(self._transaction)

    def answer(self, *sent: Posted) -> list[Told]:
        answers = self.run(*(partial(self._answer, posted) for posted in sent))
        return [Told(one.status, one.headers, json.loads(one.body)) for one in answers]

    def run(self, *works: Callable[[Session], Any]) -> list[Any]:
        """What each returned or raised."""
        return asyncio.run(self._together(works))

    async def _together(self, works: tuple[Callable[[Session], Any], ...]) -> list[Any]:
        begun, all_came = threading.Event(), threading.Event()

        def hold(_session: Session) -> bool:
            begun.set()
            return all_came.wait(WAIT_S)

        async def go_on() -> None:
            all_came.set()

        held = asyncio.ensure_future(self.group.run(hold))
        await asyncio.to_thread(begun.wait, WAIT_S)
        self.opened = 0
        told = await asyncio.gather(*(self.group.run(work) for work in works), go_on(), return_exceptions=True)
        assert await held
        return told[:-1]

    def _answer(self, posted: Posted, session: Session) -> Any:
        return answer_form(session, self.bank.authority, posted, self.bank.now)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        self.opened += 1
        with writing(self.bank.engine) as session:
            yield session


@pytest.fixture
def crowd(bank: Bank) -> Crowd:
    return Crowd(bank)


def a_request(bank: Bank, path: str = "/oauth/token", **fields: Any) -> Posted:
    body = urlencode(bank.form(**(fields or CLIENT_CREDENTIALS))).encode()
    return Posted(path=path, content_type=FORM, body=body, proofs=(bank.prove("POST", path),))


def redeeming(code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER,
    }  # fmt: skip


def outcomes(told: list[Told]) -> list[tuple[int, str]]:
    return [one.outcome for one in told]


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent."""
    sent: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    yield sent
    event.remove(engine, "before_cursor_execute", count)


def test_a_group_is_one_transaction_of_a_few_statements_and_each_gets_a_token_of_its_own(
    bank: Bank, crowd: Crowd
) -> None:
    sent = [a_request(bank) for _ in range(20)]
    with counted(bank.engine) as statements:
        told = crowd.answer(*sent)
    assert outcomes(told) == [(200, "")] * 20
    assert crowd.opened == 1
    assert len([one for one in statements if not one.startswith("BEGIN")]) == 3, statements
    tokens = {one.document["access_token"] for one in told}
    with reading(bank.engine) as session:
        stored = set(session.execute(text("SELECT token_hash FROM access_token")).scalars())
    assert stored == {token_hash(one) for one in tokens}
    assert len(stored) == 20
    assert count_rows(bank.engine, UsedJti) == 40
    assert all(bank.is_active(one) for one in tokens)


def test_a_request_that_is_twice_in_a_group_is_answered_once(bank: Bank, crowd: Crowd) -> None:
    twice, other = a_request(bank), a_request(bank)
    told = crowd.answer(twice, other, twice, twice)
    assert outcomes(told) == [(200, ""), (200, ""), (401, "invalid_client"), (401, "invalid_client")]
    assert (crowd.opened, count_rows(bank.engine)) == (1, 2)


def test_a_proof_that_is_twice_in_a_group_counts_once(bank: Bank, crowd: Crowd) -> None:
    first, second = a_request(bank), a_request(bank)
    again = Posted(path=second.path, content_type=FORM, body=second.body, proofs=first.proofs)
    assert outcomes(crowd.answer(first, again)) == [(200, ""), (400, "invalid_dpop_proof")]
    assert count_rows(bank.engine) == 1
    assert outcomes(crowd.answer(second)) == [(401, "invalid_client")], "its assertion is used up all the same"


def test_what_was_used_before_the_group_is_refused_and_harms_no_other(bank: Bank, crowd: Crowd) -> None:
    old, proof_of = a_request(bank), a_request(bank)
    assert outcomes(crowd.answer(old, proof_of)) == [(200, "")] * 2
    fresh = [a_request(bank) for _ in range(3)]
    stolen = Posted(path=old.path, content_type=FORM, body=fresh[1].body, proofs=proof_of.proofs)
    told = crowd.answer(fresh[0], old, stolen, fresh[2])
    assert outcomes(told) == [(200, ""), (401, "invalid_client"), (400, "invalid_dpop_proof"), (200, "")]
    assert crowd.opened == 2
    assert count_rows(bank.engine) == 4
    assert outcomes(crowd.answer(fresh[1])) == [(401, "invalid_client")], "it came with a used proof, and is used"


def test_of_workers_that_get_the_same_requests_in_any_order_one_answers_each(bank: Bank) -> None:
    sent = [a_request(bank) for _ in range(12)]
    workers = [Crowd(bank) for _ in range(3)]
    orders = [sent, sent[::-1], sent[6:] + sent[:6]]
    told: dict[int, list[Told]] = {}
    barrier = threading.Barrier(3)

    def work(number: int) -> None:
        barrier.wait()
        told[number] = workers[number].answer(*orders[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in sent:
        found = sorted(told[number][orders[number].index(one)].outcome for number in range(3))
        assert found == [(200, ""), (401, "invalid_client"), (401, "invalid_client")]
    assert (count_rows(bank.engine), count_rows(bank.engine, UsedJti)) == (12, 24)


def test_a_code_that_is_twice_in_a_group_ends_what_it_gave(bank: Bank, crowd: Crowd, person: int) -> None:
    code, other = bank.code(person), bank.code(person)
    told = crowd.answer(*(a_request(bank, **redeeming(one)) for one in (code, other, code)))
    assert outcomes(told) == [(200, ""), (200, ""), (400, "invalid_grant")]
    assert crowd.opened == 1
    assert not bank.works(told[0].document["access_token"])
    assert bank.refresh(told[0].document["refresh_token"]).outcome == (400, "invalid_grant")
    assert bank.works(told[1].document["access_token"])


def test_a_whole_request_sent_again_is_no_code_used_twice(bank: Bank, crowd: Crowd, person: int) -> None:
    """Who recorded a request has no client's key, and cannot end what it gave."""
    recorded = a_request(bank, **redeeming(bank.code(person)))
    (given,) = crowd.answer(recorded)
    assert outcomes(crowd.answer(recorded, a_request(bank))) == [(401, "invalid_client"), (200, "")]
    assert bank.works(given.document["access_token"])
    assert count_rows(bank.engine, RefreshToken) == 1


def test_a_refresh_token_that_is_revoked_ends_what_it_gave_in_the_same_group(
    bank: Bank, crowd: Crowd, person: int
) -> None:
    given = bank.consented(person)
    refreshing = a_request(bank, grant_type="refresh_token", refresh_token=given["refresh_token"])
    revoking = a_request(bank, "/oauth/revoke", token=given["refresh_token"])
    refreshed, revoked = crowd.answer(refreshing, revoking)
    assert (refreshed.status, revoked.status, crowd.opened) == (200, 200, 1)
    assert not bank.works(refreshed.document["access_token"])


def test_a_work_that_fails_harms_no_other(bank: Bank, crowd: Crowd) -> None:
    good = [partial(crowd._answer, a_request(bank)) for _ in range(2)]

    def break_down(session: Session) -> None:
        session.execute(text("SELECT nothing FROM nowhere"))

    first, failed, last = crowd.run(good[0], break_down, good[1])
    assert (first.status, last.status) == (200, 200)
    assert "nowhere" in str(failed)
    assert (count_rows(bank.engine), count_rows(bank.engine, UsedJti)) == (2, 4)


def test_nobody_is_answered_where_nothing_could_be_committed(bank: Bank, engine: Engine) -> None:
    @contextmanager
    def failing() -> Iterator[Session]:
        with writing(engine) as session:
            yield session
            raise ConnectionError("the disk is full")

    crowd = Crowd(bank)
    crowd.group = GroupCommit(failing)
    sent = [partial(crowd._answer, a_request(bank)) for _ in range(3)]
    found = asyncio.run(gathered(crowd.group, sent))
    assert [str(one) for one in found] == ["the disk is full"] * 3
    assert (count_rows(engine), count_rows(engine, UsedJti)) == (0, 0)


async def gathered(group: GroupCommit, works: list[Any]) -> list[Any]:
    return await asyncio.gather(*(group.run(work) for work in works), return_exceptions=True)


def test_a_client_that_was_suspended_between_two_groups_is_refused_in_the_second(bank: Bank, crowd: Crowd) -> None:
    assert outcomes(crowd.answer(a_request(bank), a_request(bank))) == [(200, "")] * 2
    with writing(bank.engine) as session:
        session.execute(text("UPDATE oauth_client SET suspended_at = created_at"))
    assert outcomes(crowd.answer(a_request(bank), a_request(bank))) == [(401, "invalid_client")] * 2
    assert count_rows(bank.engine) == 2
