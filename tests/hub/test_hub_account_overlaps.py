"""What a person sees of an act whose grams are with another act."""

import json
from datetime import UTC, datetime, timedelta

from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.town import document_of, inhabitant, reports
from tests_support.web import look_up

from connectors.base import Delivery
from hub.context import Hub
from hub.db import reading
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.portal.account import load_account
from hub.sandbox.registers import BAIC
from hub.sandbox.reports import Note

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
LEDGER = {name: BEIJING[name] for name in ("connector", "secrets", "mapping")} | {
    "stream": "ledger", "connector_config": BEIJING["connector_config"] | {"stream": "ledger"},
}  # fmt: skip


def test_an_act_that_gave_way_to_another_names_who_told_of_it(hub: Hub):
    """A day without a car gives way to the metro ride of that day, told by both feeds of a city: it names that ride."""
    person = inhabitant(1)
    row = next(
        row for row in reports().told_by(BAIC, stream="")
        if row.person == 1 and row.note is Note.PLAIN and row.trouble is None and row.act_id is not None
    )  # fmt: skip
    day = datetime.fromisoformat(f"{json.loads(row.body)['date']}T00:00:00+08:00")
    platforms = {CITY: "bj-1", BAIC: person.accounts[BAIC]}
    behaviours = {*BEIJING["behaviours"], "MOB-NODRIVE"}
    city, maker = join(hub, BEIJING | {"more_feeds": [LEDGER]}), join(hub, document_of(BAIC))
    li = link_person(hub, "li", platforms, behaviours, NOW)
    body = row.body.encode()
    take_delivery(hub, maker, Delivery(delivery_id="o", stream="odometer", rows=(body,), digest=bytes(32)), now=NOW)
    begin = day + timedelta(hours=9)
    times = {"beginTime": begin.isoformat(), "endTime": (begin + timedelta(minutes=30)).isoformat()}
    told = act("1", scene="METRO", orderNo="MT1", distance=None, updateTime=begin.isoformat(), **times)
    for name, stream in (("d1", "acts"), ("d2", "ledger")):
        one = delivery(name, told)
        again = Delivery(delivery_id=name, stream=stream, rows=one.rows, digest=one.digest)
        take_delivery(hub, city, again, now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    verdicts = look_up(hub, "SELECT verdict FROM decision ORDER BY record_id")
    assert verdicts == [("overlapped",), ("counted",), ("duplicate",)]
    with reading(hub.engine) as session:
        acts = load_account(session, li.subject_id).acts
    assert sorted((one.platform, one.also_reported_by) for one in acts) == [(BAIC, ()), (CITY, ())]
