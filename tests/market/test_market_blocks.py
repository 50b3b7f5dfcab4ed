"""What becomes of blocks: one step at a time, all or nothing, and a retirement is the end."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tests_support.marketing import NOW, TONNE, Market, Town, grams, pool_all, snapshot
from tests_support.web import look_up

from hub.audit import audit
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, UsageProblem
from hub.market import blocks
from hub.market.blocks import MOST, NEXT, USUAL, State
from hub.market.income import load_payouts, share_income
from hub.market.tables import CreditBlock
from hub.worker import Worker


@pytest.fixture
def made(hub: Hub, market: Market) -> list[str]:
    """The ids of two blocks."""
    return [block.block_id for block in pool_all(hub, market).blocks]


Step = Callable[[Session, list[str]], Any]
STEPS: dict[State, Step] = {
    State.FROZEN: lambda session, ids: blocks.freeze(session, ids, purpose="quota_offset", now=NOW),
    State.PENDING_OFFSET: lambda session, ids: blocks.mark_pending(session, ids, reference="SHEA-1", now=NOW),
    State.RETIRED: lambda session, ids: blocks.retire(session, ids, beneficiary="某钢铁厂", now=NOW),
    State.HELD: lambda session, ids: blocks.release(session, ids, now=NOW),
}
WAY = {
    State.HELD: [],
    State.FROZEN: [State.FROZEN],
    State.PENDING_OFFSET: [State.FROZEN, State.PENDING_OFFSET],
    State.RETIRED: [State.FROZEN, State.PENDING_OFFSET, State.RETIRED],
}


def go(hub: Hub, ids: list[str], *steps: State) -> None:
    for step in steps:
        with writing(hub.engine) as session:
            STEPS[step](session, ids)


def shown(hub: Hub, block_id: str) -> dict[str, Any]:
    with reading(hub.engine) as session:
        return blocks.describe(blocks.find_block(session, block_id))


def require_sound(hub: Hub) -> None:
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []


def test_a_block_is_used_for_a_quota_once_the_other_registry_says_so(hub: Hub, made: list[str]) -> None:
    go(hub, made[:1], State.FROZEN)
    assert shown(hub, made[0])["state"] == "frozen"
    assert shown(hub, made[0])["expires_at"] == (NOW + USUAL).isoformat()
    with writing(hub.engine) as session, pytest.raises(Conflict, match="mark it as pending first"):
        STEPS[State.RETIRED](session, made[:1])
    go(hub, made[:1], State.PENDING_OFFSET, State.RETIRED)
    told = shown(hub, made[0])
    assert {name: told[name] for name in ("state", "purpose", "beneficiary", "reference", "expires_at")} == {
        "state": "retired", "purpose": "quota_offset", "beneficiary": "某钢铁厂", "reference": "SHEA-1",
        "expires_at": None,
    }  # fmt: skip
    assert grams(hub)["retired"] == grams(hub)["issued"] == TONNE
    require_sound(hub)


@pytest.mark.parametrize("purpose", ["neutrality", "voluntary", "compensation"])
def test_where_no_other_registry_takes_part_a_frozen_block_is_retired(hub: Hub, made: list[str], purpose: str) -> None:
    with writing(hub.engine) as session:
        blocks.freeze(session, made, purpose=purpose, now=NOW, timeout=timedelta(days=1))
        blocks.retire(session, made, beneficiary="A conference", reference="2026-7", now=NOW)
    assert grams(hub)["retired"] == 2 * TONNE
    assert {(shown(hub, one)["state"], shown(hub, one)["reference"]) for one in made} == {("retired", "2026-7")}
    entries = look_up(hub, "SELECT reason FROM journal_entry WHERE kind = 'retire' ORDER BY entry_id")
    assert entries == [(purpose,)] * 2
    require_sound(hub)


@pytest.mark.parametrize("now", State)
def test_every_other_step_is_refused_and_changes_nothing(hub: Hub, made: list[str], now: State) -> None:
    go(hub, made[:1], *WAY[now])
    before = snapshot(hub)
    for to in set(State) - NEXT[now]:
        refusal = f"is {now.value} and cannot become {to.value}"
        with pytest.raises(Conflict, match=refusal), writing(hub.engine) as session:
            STEPS[to](session, made[:1])
    assert snapshot(hub) == before


def test_of_several_blocks_all_change_or_none(hub: Hub, made: list[str]) -> None:
    go(hub, made[:1], State.FROZEN)
    before = snapshot(hub)
    with pytest.raises(Conflict), writing(hub.engine) as session:
        STEPS[State.FROZEN](session, made[::-1])
    assert snapshot(hub) == before
    go(hub, made[1:], State.FROZEN)
    go(hub, made, State.PENDING_OFFSET, State.RETIRED)
    assert grams(hub)["retired"] == 2 * TONNE
    require_sound(hub)


WRONG: dict[str, Step] = {
    "an unknown purpose": lambda s, ids: blocks.freeze(s, ids, purpose="fun", now=NOW),
    "no time": lambda s, ids: blocks.freeze(s, ids, purpose="voluntary", now=NOW, timeout=timedelta(0)),
    "too long": lambda s, ids: blocks.freeze(s, ids, purpose="voluntary", now=NOW, timeout=MOST + timedelta(seconds=1)),
    "another market's": lambda s, ids: blocks.freeze(s, ids, purpose="voluntary", now=NOW, participant="other"),
    "one twice": lambda s, ids: blocks.freeze(s, [ids[0], ids[0]], purpose="voluntary", now=NOW),
    "no block": lambda s, _ids: blocks.freeze(s, [], purpose="voluntary", now=NOW),
    "an unknown block": lambda s, _ids: blocks.freeze(s, ["b_\ud800"], purpose="voluntary", now=NOW),
    "no reference": lambda s, ids: blocks.mark_pending(s, ids, reference=" ", now=NOW),
    "a reference with a line end": lambda s, ids: blocks.mark_pending(s, ids, reference="a\nb", now=NOW),
    "a formula": lambda s, ids: blocks.retire(s, ids, beneficiary="=1+1", now=NOW),
    "nobody": lambda s, ids: blocks.retire(s, ids, beneficiary="", now=NOW),
    "somebody endless": lambda s, ids: blocks.retire(s, ids, beneficiary="x" * 201, now=NOW),
}


def test_what_cannot_be_is_refused_and_changes_nothing(hub: Hub, made: list[str]) -> None:
    before = snapshot(hub)
    for step in WRONG.values():
        with pytest.raises(UsageProblem), writing(hub.engine) as session:
            step(session, made)
        assert snapshot(hub) == before


def test_the_database_itself_refuses_states_that_say_nothing(hub: Hub, made: list[str]) -> None:
    for changed in ("state = 'sold'", "state = 'retired'", "state = 'frozen'", "purpose = 'voluntary'"):
        with pytest.raises(IntegrityError), writing(hub.engine) as session:
            session.connection().exec_driver_sql(f"UPDATE credit_block SET {changed}")


def test_what_is_out_of_time_is_held_again_by_the_worker_and_retired_no_more(hub: Hub, made: list[str]) -> None:
    go(hub, made, State.FROZEN)
    go(hub, made[:1], State.PENDING_OFFSET)
    late = NOW + USUAL
    with pytest.raises(Conflict, match="out of time"), writing(hub.engine) as session:
        blocks.retire(session, made[:1], beneficiary="A fair", now=late)
    worker = Worker(replace(hub, clock=lambda: late))
    assert worker._blocks()
    assert not worker._blocks()
    told = [shown(hub, one) for one in made]
    assert {(one["state"], one["purpose"], one["reference"], one["expires_at"]) for one in told} == {
        ("held", None, None, None)
    }
    assert grams(hub)["issued"] == 2 * TONNE
    require_sound(hub)


def test_an_expiry_is_bounded_and_takes_the_oldest_first(hub: Hub, made: list[str]) -> None:
    with writing(hub.engine) as session:
        blocks.freeze(session, made[1:], purpose="voluntary", now=NOW, timeout=timedelta(days=1))
        blocks.freeze(session, made[:1], purpose="voluntary", now=NOW, timeout=timedelta(days=2))
    with writing(hub.engine) as session:
        assert blocks.expire_due(session, now=NOW + timedelta(days=1, hours=-1)) == 0
        assert blocks.expire_due(session, now=NOW + timedelta(days=9), limit=1) == 1
    assert [shown(hub, one)["state"] for one in made] == ["frozen", "held"]


def test_every_step_has_its_leaf_without_the_beneficiary(hub: Hub, made: list[str]) -> None:
    go(hub, made[:1], *WAY[State.RETIRED])
    bodies = [bytes(data) for (data,) in look_up(hub, "SELECT data FROM log_body ORDER BY leaf_id")]
    steps = [body for body in bodies if b'"kind":"block.changed"' in body]
    assert [
        b'"outcome":"%s"' % s in b for s, b in zip((b"frozen", b"pending_offset", b"retired"), steps, strict=True)
    ] == [True] * 3
    (pooled,) = [body for body in bodies if b'"kind":"blocks.pooled"' in body]
    assert b'"serial_first":1' in pooled
    assert b'"serial_last":2' in pooled
    for body in bodies:
        assert "某钢铁厂".encode() not in body
        assert b"SHEA-1" not in body
        assert made[0].encode() not in body


def test_an_income_is_owed_to_the_people_of_a_block_once(hub: Hub, town: Town, made: list[str]) -> None:
    with writing(hub.engine) as session:
        first = share_income(session, made[0], amount_fen=10_001, reference="deal 7", now=NOW)
        again = share_income(session, made[0], amount_fen=10_001, reference="deal 7", now=NOW)
    assert (first.is_new, again.is_new, first.people) == (True, False, 3)
    with reading(hub.engine) as session:
        told = list(load_payouts(session, hub.ring, first.income.income_id))
    assert sum(one["fen"] for one in told) == 10_001
    assert all(one["subject"].startswith("s_") for one in told)
    before = snapshot(hub)
    with pytest.raises(Conflict, match="came before with 10001 fen"), writing(hub.engine) as session:
        share_income(session, made[0], amount_fen=10_002, reference="deal 7", now=NOW)
    for amount, reference in ((0, "x"), (9_000_000_001, "x"), (1, ""), (1, " x"), (1, "a\nb")):
        with pytest.raises(UsageProblem), writing(hub.engine) as session:
            share_income(session, made[0], amount_fen=amount, reference=reference, now=NOW)
    with pytest.raises(NotFound), writing(hub.engine) as session:
        share_income(session, made[0], amount_fen=1, reference="x", now=NOW, participant="other")
    assert snapshot(hub) == before
    require_sound(hub)


def test_the_states_are_those_of_the_table() -> None:
    assert set(NEXT) == set(STEPS) == set(WAY) == set(State)
    assert CreditBlock.__tablename__ == "credit_block"
