"""A stranger who brings somebody's bill takes nothing away: whoever has seen a payment's number can write a file with it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.web import look_up

import hub.records.collect as collecting
from hub.audit import audit
from hub.context import Hub
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.sandbox.own_bills import ALIPAY_HEADER, OWN_BILLS, alipay_preamble, participant
from hub.uploads import take_upload

CITY = "beijing-green-life"
LINES = (
    "2026-11-18 08:22:00,交通出行,哈啰单车,x***@h.com,单车骑行,支出,1.50,余额宝,交易成功,P1\t,\tHB1\t,,",
    "2026-11-18 19:00:00,交通出行,哈啰单车,x***@h.com,单车骑行,支出,1.50,余额宝,交易成功,P2\t,\tHB2\t,,",
)
EDITS: dict[str, Callable[[str], str]] = {
    "as it is": lambda line: line,
    "paid back": lambda line: line.replace("交易成功", "交易关闭"),
    "another ride": lambda line: line.replace("11-18 08", "11-18 06").replace("11-18 19", "11-17 21"),
    "another order": lambda line: line.replace("HB1", "HB7").replace("HB2", "HB8"),
}
STANDING = (
    "SELECT r.behaviour, s.version, s.cancelled, r.start_us FROM source_record s JOIN reduction_record r USING (record_id) "
    "WHERE s.superseded_by IS NULL AND s.platform = :platform AND s.subject_id = :subject ORDER BY r.start_us"
)
DECIDED = (
    "SELECT r.platform, d.verdict, d.reason, d.counted_mg > 0 FROM decision d JOIN reduction_record r USING (record_id) "
    "WHERE d.subject_id = :subject ORDER BY r.platform, r.start_us"
)
# The platform's telling counts and the bill confirms it; what a bill says alone counts for nothing.
OWNERS_DECISIONS = [
    (CITY, "counted", "first_in_role_order", True),
    (OWN_BILLS, "duplicate", "same_event_key", False),
    (OWN_BILLS, "held", "declared_only", False),
]


def bill(edit: Callable[[str], str] = EDITS["as it is"]) -> bytes:
    lines = (*alipay_preamble("王小明"), ALIPAY_HEADER, *map(edit, LINES))
    return "".join(f"{line}\r\n" for line in lines).encode("gb18030")


@pytest.fixture
def owner(hub: Hub) -> LinkedPerson:
    """Who paid, and whose ride the city tells of too."""
    city, behaviours = join(hub, BEIJING), {*BEIJING["behaviours"], *participant()["behaviours"]}
    join(hub, participant())
    person = link_person(hub, "li", {CITY: "bj-1", OWN_BILLS: "own-1"}, behaviours, hub.clock())
    told = act("1", beginTime="2026-11-18T08:10:00+08:00", endTime="2026-11-18T08:21:55+08:00", orderNo="HB1")
    take_delivery(hub, city, delivery("d1", told), now=hub.clock())
    return person


@pytest.fixture
def stranger(hub: Hub, owner: LinkedPerson) -> LinkedPerson:
    return link_person(hub, "wang", {OWN_BILLS: "own-2"}, set(participant()["behaviours"]), hub.clock())


def bring(hub: Hub, person: LinkedPerson, content: bytes) -> dict[str, Any]:
    reply = take_upload(hub, person.subject_id, OWN_BILLS, content, now=hub.clock())
    assert reply.status == 200, reply.body
    return dict(json.loads(reply.body))


def standing(hub: Hub, person: LinkedPerson) -> list[tuple[Any, ...]]:
    return look_up(hub, STANDING, platform=OWN_BILLS, subject=person.subject_id)


def decided(hub: Hub, person: LinkedPerson) -> list[tuple[Any, ...]]:
    seal_window(hub, now=hub.clock())
    clear_sealed(hub, now=hub.clock())
    return look_up(hub, DECIDED, subject=person.subject_id)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("is_first", [False, True], ids=["afterwards", "first"])
def test_a_stranger_who_brings_a_bill_takes_nothing_from_whose_it_is(
    hub: Hub, owner: LinkedPerson, stranger: LinkedPerson, is_first: bool, edit: Callable[[str], str]
) -> None:
    brought = [(stranger, bill(edit)), (owner, bill())]
    answers = [bring(hub, *one) for one in (brought if is_first else reversed(brought))]
    assert [(one["accepted"], one["replayed"], one["quarantined"]) for one in answers] == [(2, 0, 0)] * 2
    found = standing(hub, owner)
    assert [row[:3] for row in found] == [("MOB-BIKE", 1, False)] * 2
    # And once more, now that both are there: an export is brought again with every month.
    bring(hub, stranger, bill(lambda line: edit(line) + " "))
    assert standing(hub, owner) == found
    assert decided(hub, owner) == OWNERS_DECISIONS
    assert not any(counts for *_, counts in look_up(hub, DECIDED, subject=stranger.subject_id))
    assert audit(hub).failed == 0


def test_whose_a_payment_is_can_still_tell_of_it_anew(hub: Hub, owner: LinkedPerson, stranger: LinkedPerson) -> None:
    bring(hub, owner, bill())
    bring(hub, stranger, bill(EDITS["another ride"]))
    assert bring(hub, owner, bill(EDITS["paid back"]))["accepted"] == 2
    assert [row[1:3] for row in standing(hub, owner)] == [(3, True), (3, True)]
    assert [row[1:3] for row in standing(hub, stranger)] == [(1, False), (1, False)]


def test_were_payments_known_by_their_number_alone_a_stranger_would_take_them_over(
    hub: Hub, owner: LinkedPerson, stranger: LinkedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_own_ids", lambda feed, records: records)
    bring(hub, owner, bill())
    bring(hub, stranger, bill(EDITS["paid back"]))
    assert standing(hub, owner) == []
