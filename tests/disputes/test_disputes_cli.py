"""Staff at the command line: lists, opening, review, decision; regulators within their case; and what is written down."""

import json
from datetime import timedelta

from tests_support.disputing import CHEN, employ, events, opened, person, require_sound, state_of
from tests_support.people import LinkedPerson
from tests_support.terminal import Terminal
from tests_support.using import rows, sums
from tests_support.web import Caller

from hub.context import Hub
from hub.staff.rights import Role

BY = ("--by", CHEN)


def actions(hub: Hub) -> list[tuple[object, ...]]:
    sql = "SELECT a.what, s.name, a.ids, a.case_id FROM staff_action a JOIN staff s USING (staff_id) ORDER BY a.at, a.what"
    return [row for row in rows(hub, sql) if "dispute" in str(row[0])]


def test_an_operator_sees_takes_care_and_decides(hub: Hub, li: LinkedPerson, tanlian: Terminal) -> None:
    whole = sums(hub, li.subject_id)["held"]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0], text="骑的不是我")
    (one,) = tanlian("disputes", "list", "--json").json
    assert (one["dispute"], one["state"], one["locked_mg"]) == (dispute, "opened", whole // 3)
    table = tanlian("disputes", "list").out
    assert dispute in table
    assert "骑的不是我" not in table
    assert tanlian("disputes", "acknowledge", dispute, *BY, "--json").json["state"] == "evidence"
    assert tanlian("disputes", "evidence", dispute, "--text", "the platform was asked", *BY).code == 0
    shown = tanlian("disputes", "show", dispute, *BY)
    assert "骑的不是我" in shown.out
    assert "the platform was asked" in shown.out
    assert "review" in tanlian("disputes", "decide", dispute, "--outcome", "upheld", "--why", "so", *BY).complaint
    assert tanlian("disputes", "review", dispute, *BY).out.startswith(f"dispute {dispute} (event, frad): review")
    assert (
        "upheld or rejected"
        in tanlian("disputes", "decide", dispute, "--outcome", "maybe", "--why", "so", *BY).complaint
    )
    done = tanlian(
        "disputes", "decide", dispute, "--outcome", "upheld", "--adjust", "partial", "--mg", "1000", "--why", "half", *BY
    )  # fmt: skip
    assert "; 1 adjustment posted" in done.out
    told = tanlian("disputes", "show", dispute, *BY, "--json").json
    assert told["outcome"]["adjustments"][0]["mg"] == 1000
    assert tanlian("disputes", "show", dispute, *BY).code == 0
    assert sums(hub, li.subject_id) == {"held": whole - 1000}
    assert tanlian("disputes", "list", "--json").json == []
    (counted,) = tanlian("disputes", "figures", "--json").json
    assert (counted["target"], counted["state"], counted["count"]) == ("event", "upheld", 1)
    assert "upheld" in tanlian("disputes", "figures").out
    assert [what for what, *_ in actions(hub)].count("staff.dispute_seen") == 3
    assert {json.loads(str(ids))["dispute"] for _, _, ids, _ in actions(hub)} == {dispute}
    require_sound(hub)


def test_an_operator_opens_asks_and_takes_back(hub: Hub, li: LinkedPerson, tanlian: Terminal) -> None:
    event = events(hub)[0]
    opening = ("disputes", "open", "amount", str(event), "--reason", "fact", "--text", "half", "--claimed-mg", "5", *BY)
    made = tanlian(*opening, "--json").json
    assert (made["new"], made["opened_by"], made["claimed_mg"]) == (True, "operator", 5)
    assert tanlian(*opening, "--json").json["new"] is False
    assert "answer" in str(tanlian("disputes", "ask", made["dispute"], *BY, "--json").json)
    assert tanlian("disputes", "withdraw", made["dispute"], *BY, "--json").json["state"] == "withdrawn"
    for target, name in (("link", "l_none"), ("retirement", "r_none"), ("event", "9999"), ("event", "one")):
        assert tanlian("disputes", "open", target, name, "--reason", "oper", "--text", "x", *BY).complaint
    assert tanlian("disputes", "open", "link", li.link_id, "--reason", "link", "--text", "x", *BY).code == 0
    for words in (("review", "d_none"), ("withdraw", "d_none"), ("show", "d_none"), ("review", "碳")):
        assert tanlian("disputes", *words, *BY).complaint == "there is no such dispute of yours"
    assert "no member of staff" in tanlian("disputes", "show", made["dispute"], "--by", "nobody").complaint
    require_sound(hub)


def test_a_regulator_needs_a_case_and_stays_in_the_jurisdiction(hub: Hub, li: LinkedPerson, tanlian: Terminal) -> None:
    employ(hub, "ma", Role.REGULATOR, jurisdiction="110000")
    employ(hub, "hu", Role.REGULATOR, jurisdiction="440000")
    employ(hub, "pu", Role.PLATFORM, participant="beijing-green-life")
    event = str(events(hub)[0])
    opening = ("disputes", "open", "event", event, "--reason", "frad", "--text", "seen in an inspection")
    assert "--case" in tanlian(*opening, "--by", "ma").complaint
    assert "jurisdiction" in tanlian(*opening, "--by", "hu", "--case", "case-7").complaint
    assert "have no part" in tanlian(*opening, "--by", "pu").complaint
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(0,)]
    made = tanlian(*opening, "--by", "ma", "--case", "case-7", "--json").json
    dispute = made["dispute"]
    assert made["opened_by"] == "regulator"
    assert "--case" in tanlian("disputes", "show", dispute, "--by", "ma").complaint
    assert tanlian("disputes", "show", dispute, "--by", "ma", "--case", "case-7").code == 0
    assert tanlian("disputes", "evidence", dispute, "--text", "more", "--by", "ma", "--case", "case-7").code == 0
    assert "jurisdiction" in tanlian("disputes", "show", dispute, "--by", "hu", "--case", "case-7").complaint
    assert "may not do this" in tanlian("disputes", "review", dispute, "--by", "ma").complaint
    assert tanlian("disputes", "withdraw", dispute, "--by", "ma", "--case", "case-7").code == 0
    assert {(name, case) for _, name, _, case in actions(hub)} == {("ma", "case-7")}
    assert state_of(hub, dispute) == "withdrawn"
    require_sound(hub)


def test_somebody_who_was_disabled_does_nothing(hub: Hub, li: LinkedPerson, tanlian: Terminal) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    assert tanlian("staff", "disable", CHEN).code == 0
    assert "disabled" in tanlian("disputes", "review", dispute, *BY).complaint
    assert state_of(hub, dispute) == "opened"


def test_what_is_overdue_is_found_in_the_list_and_in_the_metrics(hub: Hub, li: LinkedPerson, tanlian: Terminal) -> None:
    long_ago = hub.clock() - timedelta(days=400)
    opened(hub, person(li.subject_id), event_id=events(hub)[0], now=long_ago)
    (one,) = tanlian("disputes", "list", "--overdue", "--json").json
    assert one["overdue"] is True
    assert "OVERDUE" in tanlian("disputes", "list").out
    told = Caller(hub).get("/metrics").text
    assert "tanlian_open_disputes 1.0" in told
    assert 'tanlian_disputes{state="opened",target="event"} 1.0' in told
    assert 'tanlian_disputes_overdue{state="opened",target="event"} 1.0' in told
    assert 'tanlian_dispute_age_seconds{state="opened",target="event"} 3.456e+07' in told
