"""Whoever comes at one time: a gram goes into one block or to one reservation, and serials are given once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from tests_support.marketing import EACH, MARKET, NOW, TONNE, Market, Town, grams, pool_all
from tests_support.using import Shop
from tests_support.web import look_up

from consent.grants import Grant, require_grant
from hub.audit import audit
from hub.context import Hub
from hub.db import writing
from hub.errors import Conflict
from hub.market import blocks
from hub.market.income import share_income
from hub.market.pool import Pooled
from hub.records.races import try_again
from hub.uses.reservations import TooFew, Wanted, reserve
from standards.uses import Use

WHOLE = 12 * EACH


def together(*acts: Any) -> list[Any]:
    """Run acts in threads that begin at one time; returns results and conflicts in their order."""
    barrier = Barrier(len(acts))

    def one(act: Any) -> Any:
        barrier.wait()
        try:
            return try_again(act)
        except Conflict as refused:
            return refused

    with ThreadPoolExecutor(len(acts)) as workers:
        return list(workers.map(one, acts))


def given_to(hub: Hub, client_id: str, subject_id: int) -> Grant:
    sql = "SELECT grant_id FROM grant_current WHERE recipient = :c AND subject_id = :s"
    ((grant_id,),) = look_up(hub, sql, c=client_id, s=subject_id)
    with writing(hub.engine) as session:
        return require_grant(session, grant_id=str(grant_id), subject_id=subject_id)


def test_a_pool_and_sixteen_reservations_never_take_one_gram_twice(hub: Hub, town: Town, market: Market) -> None:
    shop = Shop.opened(hub, MARKET)
    for one in town.people:
        shop.allowed(one.subject_id)
    given = [given_to(hub, shop.client_id, one.subject_id) for one in town.people]
    each = EACH // 2

    def reserves(number: int) -> Any:
        def act() -> str:
            with writing(hub.engine) as session:
                return reserve(
                    session, grant=given[number % 3], participant=f"shop-{number}", client_id=shop.client_id,
                    wanted=Wanted(mg=each, use=Use.REDEEM), now=NOW,
                ).reservation_id  # fmt: skip

        return act

    done = together(*[reserves(number) for number in range(8)], lambda: pool_all(hub, market), *[
        reserves(number) for number in range(8, 16)
    ])  # fmt: skip
    made = [one for one in done if isinstance(one, str)]
    (pooled,) = [one for one in done if isinstance(one, Pooled)]
    assert all(isinstance(one, TooFew) for one in done if not isinstance(one, str | Pooled))
    # At most 1.472 t can be reserved: there is always something left of the two tonnes, and what it was decides.
    assert len(pooled.blocks) in (0, 1, 2)
    found = grams(hub)
    assert found.get("issued", 0) == len(pooled.blocks) * TONNE
    assert found.get("reserved", 0) == len(made) * each
    assert sum(found.values()) == WHOLE
    assert audit(hub).holds


def test_of_two_pools_at_once_each_tonne_is_in_one(hub: Hub, town: Town, market: Market) -> None:
    done = together(*[lambda: pool_all(hub, market, most=1)] * 4)
    assert sorted(block.serial for one in done for block in one.blocks) == [1, 2]
    assert grams(hub) == {"held": WHOLE - 2 * TONNE, "issued": 2 * TONNE}
    assert audit(hub).holds


def test_of_a_retirement_a_release_and_a_time_out_at_once_one_comes_true(hub: Hub, town: Town, market: Market) -> None:
    block = pool_all(hub, market).blocks[0]
    with writing(hub.engine) as session:
        blocks.freeze(session, [block.block_id], purpose="voluntary", now=NOW)

    def retires() -> str:
        with writing(hub.engine) as session:
            return str(blocks.retire(session, [block.block_id], beneficiary="A fair", now=NOW)[0].state)

    def releases() -> str:
        with writing(hub.engine) as session:
            return str(blocks.release(session, [block.block_id], now=NOW)[0].state)

    def expires() -> str:
        with writing(hub.engine) as session:
            return "held" if blocks.expire_due(session, now=NOW.replace(year=2027)) else "nothing"

    done = together(retires, releases, expires, retires, releases, expires)
    assert [one for one in done if one in ("retired", "held")] in (["retired"], ["held"])
    ((state,),) = look_up(hub, "SELECT state FROM credit_block WHERE serial = 1")
    assert grams(hub).get("retired", 0) == (TONNE if state == "retired" else 0)
    assert audit(hub).holds


def test_an_income_told_many_times_at_once_is_shared_once(hub: Hub, town: Town, market: Market) -> None:
    block = pool_all(hub, market).blocks[0]

    def tells() -> bool:
        with writing(hub.engine) as session:
            return share_income(session, block.block_id, amount_fen=100, reference="r", now=NOW).is_new

    assert sorted(together(*[tells] * 6)) == [False] * 5 + [True]
    assert look_up(hub, "SELECT SUM(fen) FROM block_payout") == [(100,)]
