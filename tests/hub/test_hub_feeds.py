"""Platforms with several doors, notices of change, files that people bring, and lists that name nobody."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.terminal import Terminal
from tests_support.town import document_of
from tests_support.web import count, look_up

from connectors.base import Delivery, Inbound, Reply
from hub.api.doors import answer
from hub.api.notices import MOST_ACCOUNTS
from hub.audit import audit
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.participants import parse_document
from hub.pipeline import clear_dirty, clear_sealed, seal_window, take_delivery
from hub.portal.account import load_account
from hub.sandbox.registers import HELLO_BIKE
from hub.sync.cursors import ensure_state

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
SECRET = "whsec_" + "bm90aWNlLXNlY3JldC1vZi1hLXRlc3QtMzItYnl0ZXM="
SECOND = {name: BEIJING[name] for name in ("connector", "secrets", "mapping")} | {
    "stream": "ledger", "connector_config": BEIJING["connector_config"] | {"stream": "ledger"},
}  # fmt: skip


@pytest.fixture
def hub(ticking: Hub) -> Hub:
    return ticking


def push(hub: Hub, path: str, body: bytes, secret: str, *, name: str = "m1") -> Reply:
    now = hub.clock()
    headers = {
        "webhook-id": name, "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, now, body.decode()),
    }  # fmt: skip
    return answer(hub, CITY, Inbound(method="POST", path=path, headers=headers, body=body))


# Several feeds of one platform.


def test_each_feed_has_its_own_door_and_the_first_one_the_platform_s(hub: Hub):
    join(hub, BEIJING | {"more_feeds": [SECOND]})
    link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    secret, body = BEIJING["secrets"]["webhook_secrets"], json.dumps({"records": [act("1")]}).encode()
    for path, name in (("/", "m1"), ("/ledger", "m2"), ("/acts", "m3")):
        assert push(hub, path, body, secret, name=name).status == 200
    assert look_up(hub, "SELECT stream, COUNT(*) FROM batch GROUP BY stream ORDER BY stream") == [
        ("acts", 2),
        ("ledger", 1),
    ]
    # The same act on two feeds is two source records and one act.
    assert count(hub, "source_record") == {"source_record": 2}
    clear_dirty(hub, now=NOW)
    assert look_up(hub, "SELECT verdict FROM decision ORDER BY record_id") == [("counted",), ("duplicate",)]


@pytest.mark.parametrize(
    ("feeds", "complaint"),
    [
        (
            [SECOND | {"stream": "acts", "connector_config": BEIJING["connector_config"]}],
            "every feed needs a stream of its own",
        ),
        ([SECOND | {"connector": "telepathy"}], "telepathy"),
        ([SECOND | {"mapping": "hello-bike.trips.v1"}], "do not agree on whether rows name anybody"),
        ([SECOND | {"mapping": "own-bills.payments.v1"}], "do not say whose they are"),
        ([SECOND | {"stream": "other"}], "has ledger"),
        ([SECOND | {"colour": "red"}], "colour"),
    ],
)
def test_a_feed_that_cannot_work_is_refused_when_the_platform_joins(feeds: list[Any], complaint: str):
    with pytest.raises(UsageProblem, match=complaint):
        parse_document(json.dumps(BEIJING | {"more_feeds": feeds}))


def test_no_secret_of_any_feed_is_shown(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("p.json", BEIJING | {"more_feeds": [SECOND], "notice_secret": SECRET}))
    told = tanlian("participants", "show", CITY, "--json").out + tanlian("participants", "show", CITY).out
    assert SECRET not in told
    assert BEIJING["secrets"]["webhook_secrets"] not in told
    assert "ledger" in told


# Notices of change.


def test_a_notice_moves_the_accounts_that_it_names_to_the_front(hub: Hub):
    join(hub, BEIJING | {"notice_secret": SECRET})
    person = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    other = link_person(hub, "wang", {CITY: "bj-2"}, set(BEIJING["behaviours"]), NOW)
    with writing(hub.engine) as session:
        for link in (person.link_id, other.link_id):
            ensure_state(session, CITY, link, NOW + timedelta(hours=1))
    reply = push(hub, "/changes", b'{"accounts": ["bj-1", "bj-unknown"]}', SECRET)
    assert (reply.status, json.loads(reply.body)) == (202, {"noted": 2})  # and not how many of them are linked
    due = dict(look_up(hub, "SELECT link_id, turn FROM sync_state"))
    assert due == {person.link_id: 0, other.link_id: 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400), (b"{}", 400), (b'{"accounts": []}', 400), (b'{"accounts": [1]}', 400), (b'{"accounts": [""]}', 400),
        (b'{"accounts": ["a"], "stream": "none"}', 400), (b'{"accounts": ["a"], "stream": 5}', 400),
        (b'{"accounts": ["a"], "accounts": ["b"]}', 400), (b'{"accounts": ["a"], "records": []}', 400),
        (json.dumps({"accounts": ["a"] * (MOST_ACCOUNTS + 1)}).encode(), 400), (b'{"accounts": ["a"], "stream": "acts"}', 202),
    ],
)  # fmt: skip
def test_a_notice_is_taken_strictly(hub: Hub, body: bytes, status: int):
    join(hub, BEIJING | {"notice_secret": SECRET})
    assert push(hub, "/changes", body, SECRET).status == status


def test_a_notice_needs_its_own_signature_and_a_platform_that_has_agreed_on_one(hub: Hub):
    join(hub, BEIJING | {"notice_secret": SECRET})
    assert push(hub, "/changes", b'{"accounts": ["a"]}', BEIJING["secrets"]["webhook_secrets"]).status == 401
    join(hub, BEIJING)
    assert push(hub, "/changes", b'{"accounts": ["a"]}', SECRET).status in (401, 404)


# Files that people bring.

BILLS = {
    "id": "own-bills", "name_zh": "本人账单", "name_en": "Own bills", "kind": "personal", "connector": "bill_csv",
    "stream": "payments", "mapping": "own-bills.payments.v1",
    "behaviours": ["MOB-BIKE", "MOB-EBIKE", "MOB-METRO", "MOB-BUS", "MOB-EVCHARGE"],
}  # fmt: skip
FILE = (
    "------------------------\r\n导出信息：\r\n姓名：王小明\r\n" + "\r\n" * 18
    + "交易时间,交易分类,交易对方,对方账号,商品说明,收/支,金额,收/付款方式,交易状态,交易订单号,商家订单号,备注,\r\n"
    "2026-11-18 08:22:00,交通出行,哈啰单车,x***@h.com,单车骑行,支出,1.50,余额宝,交易成功,P1\t,\tHB1\t,,\r\n"
    "2026-11-18 19:00:00,交通出行,哈啰单车,x***@h.com,单车骑行,支出,1.50,余额宝,交易成功,P2\t,\tHB-nobody-else\t,,\r\n"
).encode("gb18030")  # fmt: skip


@pytest.fixture
def brought(tanlian: Terminal, opened: Hub) -> Terminal:
    join(opened, BILLS)
    link_person(
        opened, "li", {"own-bills": "own-1", CITY: "bj-1"}, set(BEIJING["behaviours"]) | set(BILLS["behaviours"]), NOW
    )
    return tanlian


def test_a_bill_confirms_what_a_platform_told_and_counts_for_nothing_by_itself(brought: Terminal, opened: Hub):
    city = join(opened, BEIJING)
    told = act("1", beginTime="2026-11-18T08:10:00+08:00", endTime="2026-11-18T08:21:55+08:00", orderNo="HB1")
    take_delivery(opened, city, delivery("d1", told), now=opened.clock())
    path = brought.folder / "alipay.csv"
    path.write_bytes(FILE)
    assert brought("people", "upload", "li", "own-bills", path, "--json").json["accepted"] == 2
    seal_window(opened, now=opened.clock())
    clear_sealed(opened, now=opened.clock())
    found = look_up(
        opened,
        "SELECT r.platform, d.verdict, d.reason, d.counted_mg > 0 FROM decision d JOIN reduction_record r USING (record_id) "
        "ORDER BY r.record_id",
    )
    assert [tuple(row) for row in found] == [
        (CITY, "counted", "first_in_role_order", True),
        ("own-bills", "duplicate", "same_event_key", False),
        ("own-bills", "held", "declared_only", False),
    ]
    assert audit(opened).failed == 0


def leaves_of_changes(hub: Hub) -> int:
    """How many leaves there are beside those of who looked: that somebody tried is told of each time."""
    with reading(hub.engine) as session:
        return int(session.execute(text("SELECT COUNT(*) FROM change_leaf WHERE kind <> 'access.made'")).scalar_one())


def test_the_same_file_again_changes_nothing(brought: Terminal, opened: Hub):
    path = brought.folder / "alipay.csv"
    path.write_bytes(FILE)
    brought("people", "upload", "li", "own-bills", path)
    before = count(opened, "source_record", "quarantined", "batch") | {"leaves": leaves_of_changes(opened)}
    again = brought("people", "upload", "li", "own-bills", path, "--json").json
    assert again["accepted"] == 2  # the same answer as the first time
    assert count(opened, "source_record", "quarantined", "batch") | {"leaves": leaves_of_changes(opened)} == before


def test_what_is_no_bill_is_refused_in_one_line(brought: Terminal, opened: Hub):
    path = brought.folder / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" * 1000)
    assert "photo.jpg" in brought("people", "upload", "li", "own-bills", path).complaint
    join(opened, BEIJING)
    assert "cannot be brought" in brought("people", "upload", "li", CITY, path).complaint
    assert count(opened, "source_record") == {"source_record": 0}


def test_nobody_can_push_what_people_bring(hub: Hub):
    """A door would not know whose it is: whoever finds it could declare for anybody."""
    join(hub, BILLS)
    reply = answer(hub, "own-bills", Inbound(method="POST", path="/", body=FILE))
    assert reply.status == 404
    assert count(hub, "batch") == {"batch": 0}


# Lists that name nobody.


def trip(number: str, begin: datetime, **changes: Any) -> bytes:
    at = int(begin.timestamp() * 1000)
    row = {"trip_id": number, "start_time": at, "end_time": at + 12 * 60_000, "distance": 2000}
    return json.dumps(row | changes).encode()


def listed(*rows: bytes, name: str = "p1") -> Delivery:
    return Delivery(delivery_id=name, stream="trips", rows=rows, digest=name.encode().ljust(32, b"0"))


def test_a_trip_list_credits_nobody_and_confirms_who_told_of_the_trip(hub: Hub):
    document = document_of(HELLO_BIKE)
    platform, city = join(hub, document), join(hub, BEIJING)
    person = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    begin = datetime.fromisoformat("2026-11-18T08:10:00+08:00")
    take_delivery(hub, city, delivery("d1", act("1", orderNo="HB1"), act("2", orderNo="HB2")), now=NOW)
    outcome = take_delivery(hub, platform, listed(trip("HB1", begin), trip("HB9", begin)), now=NOW)
    assert (outcome.accepted, outcome.quarantined) == (2, 0)
    assert count(hub, "corroboration", "source_record") == {"corroboration": 2, "source_record": 2}
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    with reading(hub.engine) as session:
        acts = load_account(session, person.subject_id).acts
    assert sorted(act.confirmed_by for act in acts) == [(), (HELLO_BIKE,)]
    assert any(act.sentence.endswith(f"confirmed by {HELLO_BIKE}") for act in acts)
    assert look_up(hub, "SELECT COUNT(*) FROM decision") == [(2,)]
    assert audit(hub).failed == 0


def test_a_trip_is_kept_once_and_a_false_row_is_set_aside(hub: Hub):
    platform = join(hub, document_of(HELLO_BIKE))
    begin = datetime.fromisoformat("2026-11-18T08:10:00+08:00")
    rows = trip("HB1", begin), trip("HB1", begin), trip("HB2", begin, distance=-5)
    first = take_delivery(hub, platform, listed(*rows), now=NOW)
    assert (first.accepted, first.replayed, first.quarantined) == (1, 1, 1)
    again = take_delivery(hub, platform, listed(*rows, name="p2"), now=NOW)
    assert (again.accepted, again.replayed) == (0, 2)
    assert count(hub, "corroboration", "quarantined") == {"corroboration": 1, "quarantined": 1}
    # A trip at another time under the same number confirms nothing.
    assert audit(hub).failed == 0
