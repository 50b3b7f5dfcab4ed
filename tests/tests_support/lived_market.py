"""The market's part in a hub that lived: two people charge tonnes, which are pooled, frozen, retired and paid for."""

from datetime import datetime, timedelta

from tests_support.deliveries import charge, delivery
from tests_support.people import link_person

from consent.details import Detail, dump_details
from consent.grants import activate_grant, request_grant
from consent.terms import Frequency, GrantTerms, Purpose, Sensitive
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.market import blocks
from hub.market.income import share_income
from hub.market.pool import Wanted, pool
from hub.participants import Platform
from hub.pipeline import take_delivery

CHARGERS = ("tang.lin", "xu.jing")
MARKET, CLIENT = "beijing-green-life", "c_market"


def charge_tonnes(hub: Hub, kuaidian: Platform, linked_at: datetime, now: datetime) -> list[int]:
    """Have two people charge 400 kWh on each of six days, which is 2.2 tonnes; returns who they are."""
    people, rows = [], []
    for place, name in enumerate(CHARGERS):
        account = f"kd-bus-{place}"
        people.append(link_person(hub, name, {"kuaidian": account}, {"MOB-EVCHARGE"}, linked_at).subject_id)
        for day in range(10, 16):
            times = {"StartTime": f"2026-11-{day} 10:00:00", "EndTime": f"2026-11-{day} 11:00:00"}
            rows.append(charge(f"9{place}{day}", account, TotalPower=400.0, **times))
    take_delivery(hub, kuaidian, delivery("buses", *rows, stream="charge_orders"), now=now)
    return people


def pool_and_retire(hub: Hub, people: list[int], now: datetime) -> None:
    """Of two blocks one is retired and paid for, the other is frozen."""
    for subject_id in people:
        _allow(hub, subject_id, now)
    with writing(hub.engine) as session:
        done = pool(session, participant=MARKET, client_id=CLIENT, wanted=Wanted(), now=now)
        first, second = (block.block_id for block in done.blocks)
        blocks.freeze(session, [first, second], purpose="quota_offset", now=now)
        blocks.mark_pending(session, [first], reference="BEA-2026-7", now=now)
        blocks.retire(session, [first], beneficiary="某热力厂", now=now)
        share_income(session, first, amount_fen=7_901, reference="deal 7", now=now)


def _allow(hub: Hub, subject_id: int, now: datetime) -> None:
    detail = Detail(
        actions=frozenset({"pool"}), behaviours=frozenset({"MOB-EVCHARGE"}), platforms=frozenset({"kuaidian"}),
        purpose="", since=now - timedelta(days=90), until=now + timedelta(days=90), frequency=Frequency.ALWAYS,
    )  # fmt: skip
    terms = GrantTerms(
        recipient=CLIENT, purposes=frozenset({Purpose.POOL}), behaviours=detail.behaviours, platforms=detail.platforms,
        valid_from=detail.since, valid_until=detail.until, notice_version="test", language="en",
        sensitive=frozenset(Sensitive), details=dump_details([detail]),
    )  # fmt: skip
    with writing(hub.engine) as session:
        grant, asked = request_grant(session, subject_id=subject_id, terms=terms, now=now)
        grant, given = activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        for change in (asked, given):
            log_consent_change(session, change, now, hub=hub)
