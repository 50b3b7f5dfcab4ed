"""Pooling on both databases: whole tonnes of who allows it, the oldest acts first, and the remainder stays with people."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests_support.deliveries import delivery
from tests_support.marketing import (
    CHARGED,
    EACH,
    MARKET,
    NOW,
    TONNE,
    Market,
    Town,
    big_charge,
    grams,
    pool_all,
    snapshot,
)
from tests_support.using import Shop, sums
from tests_support.web import look_up

from consent.grants import pause_grant
from consent.withdraw import withdraw_grant
from hub.audit import audit
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotAdmitted, NotFound, UsageProblem
from hub.log.commitments import commitment
from hub.market import blocks
from hub.market.income import share_income
from hub.market.mine import load_payouts_of, load_shares_of
from hub.market.pool import MOST_BLOCKS, Wanted, pool, require_pooler
from hub.participants import Status, open_platform, set_status
from hub.pipeline import take_delivery
from hub.rights.erase import erase_person
from hub.rights.export import export_person
from standards.uses import load_use_rules

WHOLE = 12 * EACH


def require_sound(hub: Hub) -> None:
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []


def grant_of(hub: Hub, market: Market, person: int) -> str:
    sql = "SELECT grant_id FROM grant_current WHERE recipient = :c AND subject_id = :s"
    ((grant_id,),) = look_up(hub, sql, c=market.client_id, s=person)
    return str(grant_id)


def test_whole_tonnes_are_pooled_and_the_rest_stays(hub: Hub, town: Town, market: Market) -> None:
    assert grams(hub) == {"held": WHOLE}
    done = pool_all(hub, market)
    assert [(b.serial, b.vintage_year, b.state) for b in done.blocks] == [(1, 2026, "held"), (2, 2026, "held")]
    assert [(i.serial_first, i.serial_last, i.first_vintage, i.last_vintage) for i in done.issuances] == [
        (1, 2, 20261114, 20261117)
    ]
    assert grams(hub) == {"held": WHOLE - 2 * TONNE, "issued": 2 * TONNE}
    # Three charges a day: the first three days are gone whole, of the last one what is left is held.
    left = look_up(
        hub, "SELECT b.vintage, SUM(b.mg) FROM balance b JOIN account a USING (account_id) WHERE a.kind = 'held' "
        "AND b.mg > 0 GROUP BY b.vintage",
    )  # fmt: skip
    assert [(day, int(mg)) for day, mg in left] == [(20261117, WHOLE - 2 * TONNE)]
    require_sound(hub)


def test_the_next_run_goes_on_where_the_last_ended(hub: Hub, town: Town, market: Market) -> None:
    assert len(pool_all(hub, market, most=1).blocks) == 1
    assert [b.serial for b in pool_all(hub, market).blocks] == [2]
    before = snapshot(hub)
    assert pool_all(hub, market).blocks == ()
    assert snapshot(hub) == before
    town.charge(0, 10, 11, 12)
    town.charge(1, 10, 11, 12)
    town.settle()
    assert [b.serial for b in pool_all(hub, market).blocks] == [3]
    require_sound(hub)


def test_a_block_is_of_one_calendar_year_of_shanghai(hub: Hub, market: Market, town: Town) -> None:
    assert pool_all(hub, market, year=2025).blocks == ()
    done = pool_all(hub, market, year=2026, most=1)
    assert blocks.serial_of(done.blocks[0]) == f"{MARKET}-2026-000000001"
    require_sound(hub)


def test_only_who_allows_it_is_pooled(hub: Hub, town: Town) -> None:
    market, other = Market.opened(hub), Market.opened(hub)
    market.allowed(*town.people[:2])
    other.allowed(town.people[2])
    # Two people hold 1.472 t; what the third allows is for another client.
    done = pool_all(hub, market)
    assert len(done.blocks) == 1
    assert sums(hub, town.people[2].subject_id) == {"held": 4 * EACH}
    require_sound(hub)


def test_a_consent_to_use_grams_is_none_to_pool_them(hub: Hub, town: Town) -> None:
    market = Market.opened(hub, scope="grams:pool grams:use blocks:write account:read")
    for one in town.people:
        asked = [{"type": "tanlian_account", "actions": ["use", "read"]}]
        market.consented(one.subject_id, authorization_details=asked, scope="grams:use account:read")
    assert pool_all(hub, market).blocks == ()


@pytest.mark.parametrize(
    "detail",
    [{"until": "2026-11-20", "from": "2026-11-18"}, {"behaviours": ["MOB-BIKE"]}, {"platforms": [MARKET]}],
    ids=["other days", "other behaviours", "other platforms"],
)
def test_what_the_consent_does_not_name_is_not_pooled(hub: Hub, town: Town, detail: dict[str, object]) -> None:
    market = Market.opened(hub)
    market.allowed(*town.people, **detail)
    assert pool_all(hub, market).blocks == ()


def withdrawn(hub: Hub, market: Market, person: int) -> None:
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=grant_of(hub, market, person), subject_id=person, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)


def paused(hub: Hub, market: Market, person: int) -> None:
    with writing(hub.engine) as session:
        _, change = pause_grant(session, grant_id=grant_of(hub, market, person), subject_id=person, now=NOW)
        log_consent_change(session, change, NOW, hub=hub)


@pytest.mark.parametrize("end", [withdrawn, paused])
def test_who_no_longer_allows_it_is_left_alone(
    hub: Hub, town: Town, market: Market, end: Callable[[Hub, Market, int], None]
) -> None:
    gone = town.people[0].subject_id
    end(hub, market, gone)
    assert len(pool_all(hub, market).blocks) == 1
    assert sums(hub, gone) == {"held": 4 * EACH}
    require_sound(hub)


def test_what_was_pooled_stays_so_after_a_withdrawal(hub: Hub, town: Town, market: Market) -> None:
    done = pool_all(hub, market)
    for one in town.people:
        withdrawn(hub, market, one.subject_id)
    with writing(hub.engine) as session:
        blocks.freeze(session, [done.blocks[0].block_id], purpose="voluntary", now=NOW)
        blocks.retire(session, [done.blocks[0].block_id], beneficiary="A fair", now=NOW)
    assert grams(hub)["retired"] == TONNE
    require_sound(hub)


def test_grams_that_are_not_final_or_are_used_are_not_pooled(hub: Hub, town: Town, market: Market) -> None:
    shop = Shop.opened(hub, MARKET)
    token = shop.allowed(town.people[0].subject_id)
    made = shop.reserve(token, 2 * EACH)
    assert made.status_code == 201, made.text
    town.charge(2, 18)  # in the open window
    done = pool_all(hub, market)
    assert len(done.blocks) == 1
    assert grams(hub) == {"held": WHOLE - 2 * EACH - TONNE, "reserved": 2 * EACH, "issued": TONNE}
    require_sound(hub)


def test_of_what_a_client_pooled_it_cannot_use_the_same_acts_again(hub: Hub, town: Town) -> None:
    """The consent names charges; a client that has both consents uses of a day no more than the charges that it names."""
    market = Shop.opened(hub, MARKET, scope="grams:pool grams:use")
    tokens = []
    for one in town.people:
        asked = [{"type": "tanlian_account", "actions": ["pool"]}, {"type": "tanlian_account", "actions": ["use"]}]
        told = market.consented(one.subject_id, authorization_details=asked, scope="grams:pool grams:use")
        tokens.append(str(told["access_token"]))
    with writing(hub.engine) as session:
        wanted = Wanted(most=1)
        pool(session, participant=MARKET, client_id=market.client_id, wanted=wanted, now=NOW)
    left = sums(hub, town.people[0].subject_id)["held"]
    assert market.reserve(tokens[0], left + 1).status_code == 409
    assert market.reserve(tokens[0], left).status_code == 201
    require_sound(hub)


def test_where_rights_part_a_block_takes_the_attribute_only(hub: Hub, town: Town, market: Market) -> None:
    rules = replace(load_use_rules(), both=True)
    with writing(hub.engine) as session:
        done = pool(session, participant=MARKET, client_id=market.client_id, wanted=Wanted(), now=NOW, rules=rules)
    assert {rights for (rights,) in look_up(hub, "SELECT DISTINCT rights FROM block_share")} == {"attribute"}
    by_right = look_up(
        hub, "SELECT a.kind, b.rights, SUM(b.mg) FROM balance b JOIN account a USING (account_id) WHERE b.mg > 0 "
        "GROUP BY a.kind, b.rights ORDER BY a.kind, b.rights",
    )  # fmt: skip
    assert [(kind, rights, int(mg)) for kind, rights, mg in by_right] == [
        ("held", "both", WHOLE - 2 * TONNE),
        ("held", "incentive", 2 * TONNE),
        ("issued", "attribute", 2 * TONNE),
    ]
    with writing(hub.engine) as session:
        blocks.freeze(session, [done.blocks[0].block_id], purpose="neutrality", now=NOW)
        blocks.retire(session, [done.blocks[0].block_id], beneficiary="A fair", now=NOW)
    require_sound(hub)


@pytest.mark.parametrize("wanted", [Wanted(year=20), Wanted(most=0), Wanted(most=MOST_BLOCKS + 1)])
def test_a_pool_that_cannot_be_is_refused(hub: Hub, market: Market, wanted: Wanted) -> None:
    before = snapshot(hub)
    with writing(hub.engine) as session, pytest.raises(UsageProblem):
        pool(session, participant=MARKET, client_id=market.client_id, wanted=wanted, now=NOW)
    assert snapshot(hub) == before


def test_a_failure_on_the_way_leaves_nothing(hub: Hub, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(hub)

    def broken(*_: object) -> None:
        raise RuntimeError("the log is gone")

    monkeypatch.setattr("hub.market.pool.log_changes", broken)
    with pytest.raises(RuntimeError):
        pool_all(hub, market)
    assert snapshot(hub) == before


def test_only_a_client_of_an_active_participant_pools(hub: Hub, market: Market) -> None:
    reader = Shop.opened(hub, MARKET, scope="grams:use")
    with reading(hub.engine) as session:
        assert require_pooler(session, MARKET) == market.client_id
        assert require_pooler(session, MARKET, market.client_id) == market.client_id
        with pytest.raises(NotFound):
            require_pooler(session, MARKET, reader.client_id)
        with pytest.raises(NotFound):
            require_pooler(session, CHARGED)
        with pytest.raises(NotFound):
            require_pooler(session, CHARGED, market.client_id)
        with pytest.raises(NotAdmitted):
            require_pooler(session, "nobody")
    Market.opened(hub)
    with reading(hub.engine) as session, pytest.raises(Conflict, match="name one with --client"):
        require_pooler(session, MARKET)
    with writing(hub.engine) as session:
        set_status(session, MARKET, Status.SUSPENDED, NOW)
    with reading(hub.engine) as session, pytest.raises(NotAdmitted):
        require_pooler(session, MARKET)


def test_an_act_that_is_taken_back_after_pooling_is_owed_by_its_platform(hub: Hub, town: Town, market: Market) -> None:
    pool_all(hub, market)
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, CHARGED)
    before = grams(hub)
    # T/CEC 102 knows a correction by its content: the charge that was told first is now a small one.
    smaller = big_charge(1, "kd-0", 14) | {"TotalPower": 1.0}
    take_delivery(hub, platform, delivery("again", smaller, stream="charge_orders"), now=NOW)
    reversed_now = town.settle()
    taken = look_up(hub, "SELECT COUNT(*) FROM event_reversal WHERE window_id = :w", w=reversed_now)
    owed = look_up(hub, "SELECT COALESCE(SUM(mg), 0) FROM debt")
    if taken == [(0,)]:
        pytest.fail("the correction was not taken as one")
    assert int(owed[0][0]) == EACH
    assert grams(hub)["issued"] == before["issued"]
    require_sound(hub)


def test_shares_of_an_erased_person_stay_and_say_nothing(hub: Hub, town: Town, market: Market) -> None:
    done = pool_all(hub, market)
    gone = town.people[1].subject_id
    with writing(hub.engine) as session:
        share_income(session, done.blocks[0].block_id, amount_fen=7_901, reference="first", now=NOW)
        mine = list(load_shares_of(session, gone))
        owed = list(load_payouts_of(session, gone))
    assert sum(one["mg"] for one in mine) > 0
    assert all(len(one["salt"]) == 64 for one in mine)
    assert [one["income_fen"] for one in owed] == [7_901]
    erase_person(hub, gone, now=NOW + timedelta(hours=1))
    salts = look_up(hub, "SELECT length(salt) FROM block_share WHERE subject_id = :s", s=gone)
    assert {length for (length,) in salts} == {0}
    assert look_up(hub, "SELECT SUM(mg) FROM block_share WHERE number = :n", n=done.blocks[0].number)[0][0] == TONNE
    with writing(hub.engine) as session:
        again = share_income(session, done.blocks[0].block_id, amount_fen=100, reference="second", now=NOW)
        blocks.freeze(session, [done.blocks[0].block_id], purpose="voluntary", now=NOW)
        blocks.retire(session, [done.blocks[0].block_id], beneficiary="A fair", now=NOW)
    assert again.people == 3
    require_sound(hub)


def test_a_person_s_copy_tells_their_shares_and_what_is_owed(hub: Hub, town: Town, market: Market) -> None:
    done = pool_all(hub, market)
    with writing(hub.engine) as session:
        blocks.freeze(session, [done.blocks[0].block_id], purpose="neutrality", now=NOW)
        blocks.retire(session, [done.blocks[0].block_id], beneficiary="A conference", now=NOW)
        share_income(session, done.blocks[0].block_id, amount_fen=7_901, reference="first", now=NOW)
    whole, fen = 0, 0
    for one in town.people:
        target = io.BytesIO()
        export_person(hub, one.subject_id, target)
        with zipfile.ZipFile(target) as archive:
            told = json.loads(archive.read("account.json"))
            assert {"csv/market_shares.csv", "csv/market_income.csv"} <= set(archive.namelist())
        shares = told["market_shares"]
        assert {(share["state"], share["beneficiary"]) for share in shares} == {
            ("retired", "A conference"), ("held", None),
        }  # fmt: skip
        for share in shares:
            # With what the copy says anybody can compute the commitment that the logged root is over.
            serial = int(share["block"].rpartition("-")[2])
            names = ("offset_mg", "mg", "window_id", "vintage", "rights")
            payload = "|".join([MARKET, str(serial), *(str(share[name]) for name in names)])
            assert commitment(bytes.fromhex(share["salt"]), "share", payload.encode()).hex() == share["commitment"]
        whole += sum(share["mg"] for share in shares)
        fen += sum(income["fen"] for income in told["market_income"])
    assert (whole, fen) == (2 * TONNE, 7_901)
