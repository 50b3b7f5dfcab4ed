"""Why stored decisions were made: from the database, in the portal, to recipients, on the command line."""

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.explaining import explained, frame_of, ride
from tests_support.oauth import TYPE
from tests_support.people import link_person
from tests_support.portal import Visitor, give_password
from tests_support.terminal import Terminal
from tests_support.tokens import Machine

from hub.clearing.explain.sentences import LANGUAGES, Name
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound
from hub.explain import explain_stored
from hub.pipeline import clear_dirty, clear_sealed, seal_window, take_delivery
from hub.portal.timeline import timeline_svg

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY, BIKES = "beijing-green-life", "bike-town"
OTHER = BEIJING | {"id": BIKES, "name_zh": "小镇单车", "name_en": "Town Bikes"}
RIDE = {"beginTime": "2026-11-18T08:12:40+08:00", "endTime": "2026-11-18T08:24:50+08:00", "orderNo": None}
FIRST = (
    "Your ride on a shared bike on 18 November 2026 at 08:12 counts once, 67.76 g, from Beijing, because among equal "
    "witnesses the one who names the earlier time speaks for the act; Town Bikes told of the same act, which adds nothing "
    "more."
)
SECOND = (
    "Town Bikes told of your ride on a shared bike on 18 November 2026 at 08:12 and Beijing told of the same, 37 seconds "
    "apart, so both are one act: it counts once, 67.76 g, from Beijing."
)


def told_twice(hub: Hub, *, at_once: bool = True) -> int:
    """One ride told by two platforms, in one window or in two; returns whose it is."""
    city, bikes = join(hub, BEIJING), join(hub, OTHER)
    accounts = {CITY: "bj-1", BIKES: "bt-1"}
    li = link_person(hub, "li", accounts, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    if not at_once:
        seal_window(hub, now=NOW)
        clear_sealed(hub, now=NOW)
    take_delivery(hub, bikes, delivery("d2", act("9", "bt-1", **RIDE)), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    return li.subject_id


def sentences(hub: Hub, *record_ids: int) -> list[str]:
    with reading(hub.engine) as session:
        return [explain_stored(session, one).sentence("en") for one in record_ids]


def test_both_reports_of_one_act_are_explained_by_their_stored_decisions(hub: Hub) -> None:
    told_twice(hub)
    assert sentences(hub, 1, 2) == [FIRST, SECOND]
    with reading(hub.engine) as session:
        told = explain_stored(session, 2).told
    assert told.reproduced
    assert told.match is not None
    assert (told.match.record_id, told.match.other_record_id, told.match.apart_s) == (2, 1, 37)
    assert (told.policy, told.event_mg) == ("clearing-2026.2", 67_760)


def test_a_report_of_a_later_window_is_explained_by_the_earlier_and_the_earlier_names_it(hub: Hub) -> None:
    told_twice(hub, at_once=False)
    earlier, later = sentences(hub, 1, 2)
    assert later == SECOND
    assert earlier.endswith(
        "from Beijing, who told of it first; Town Bikes told of the same act later, which adds nothing more."
    )


def test_a_decision_that_is_not_come_to_again_is_told_as_it_stands(hub: Hub) -> None:
    told_twice(hub)
    with writing(hub.engine) as session:
        session.execute(
            text("UPDATE decision SET verdict = 'held', rule = 'T4', reason = 'uncertain' WHERE record_id = 2")
        )
    with reading(hub.engine) as session:
        found = explain_stored(session, 2, thorough=True)
    assert not found.told.reproduced
    assert found.told.match is None
    assert "may or may not be an act that was told already" in found.sentence("en")
    assert found.notes("en")[-1].startswith("The decision stands as it was made")


def test_what_is_not_there_or_not_decided_is_said(hub: Hub) -> None:
    city = join(hub, BEIJING)
    link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    with reading(hub.engine) as session:
        with pytest.raises(NotFound, match="nothing is decided about record 1 yet"):
            explain_stored(session, 1)
        with pytest.raises(NotFound, match="there is no record 99"):
            explain_stored(session, 99)


def test_a_provisional_decision_says_so(hub: Hub) -> None:
    city = join(hub, BEIJING)
    link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    clear_dirty(hub, now=NOW)
    with reading(hub.engine) as session:
        found = explain_stored(session, 1)
    assert found.provisional
    assert found.notes("en")[-1].startswith("This is provisional")
    assert found.notes("zh-CN")[-1].startswith("这是暂时的结果")


def test_a_corrected_report_is_explained_and_its_act_is_said_to_be_taken_back(hub: Hub) -> None:
    city = join(hub, BEIJING)
    link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    for name, version, metres in (("d1", 1, 2000), ("d2", 2, 3000)):
        take_delivery(hub, city, delivery(name, act("1", ver=version, distance=metres)), now=NOW)
        seal_window(hub, now=NOW)
        clear_sealed(hub, now=NOW)
    with reading(hub.engine) as session:
        old, new = explain_stored(session, 1), explain_stored(session, 2)
    assert (old.reversed_since, new.reversed_since) == (True, False)
    assert old.notes("en")[-1].startswith("This act has since been taken out of your account")
    assert "101.64 g" in new.sentence("en")


# To a recipient whom the person allowed to look.


def explanation(shop: Machine, subject_id: int, **detail: Any) -> dict[str, Any]:
    wanted = {"authorization_details": [{"type": TYPE, "actions": ["read"], **detail}]} if detail else {}
    token = shop.consented(subject_id, **wanted)["access_token"]
    answer = shop.get("/v1/account/events/1", token)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["explanation"])


def test_a_recipient_gets_both_languages_and_the_data(hub: Hub) -> None:
    li = told_twice(hub)
    told = explanation(Machine.recipient(hub), li)
    assert told["sentence"]["en"] == FIRST
    assert told["sentence"]["zh-CN"].startswith("您2026年11月18日08:12的共享单车骑行只计一次")
    assert told["data"]["amount"]["counted_mg"] == 67_760
    assert [one["platform"] for one in told["data"]["others"]] == [BIKES]


def test_a_recipient_learns_nothing_of_platforms_that_its_consent_does_not_name(hub: Hub) -> None:
    li = told_twice(hub)
    told = explanation(Machine.recipient(hub), li, behaviours=["MOB-BIKE"], platforms=[CITY])
    text_ = json.dumps(told, ensure_ascii=False)
    assert not [word for word in (BIKES, "Town Bikes", "小镇单车", "00:12:40", "00:24:50") if word in text_]
    assert told["data"]["others"] == []
    assert told["sentence"]["en"].endswith("counts once, 67.76 g, from Beijing, however many told of it.")


# In the portal.


def test_the_person_s_page_has_the_sentence_the_picture_and_each_report(hub: Hub) -> None:
    told_twice(hub)
    give_password(hub, "li")
    li = Visitor(hub)
    assert li.sign_in("li").goes_to == "/"
    assert '<a href="/acts/1">' in li.see("/").text
    page = li.see("/acts/1")
    assert page.status == 200
    assert FIRST in page.text
    assert SECOND in page.text
    picture = ET.fromstring(page.text[page.text.index("<svg") : page.text.index("</svg>") + 6])
    assert "style" not in page.text[page.text.index("<svg") : page.text.index("</svg>")]
    shapes = [one for one in picture if one.tag.endswith("rect")]
    assert [one.get("fill") for one in shapes] == ["currentColor", "none"]
    assert float(shapes[0].get("x", "0")) < float(shapes[1].get("x", "0"))
    chinese = li.see("/acts/1?lang=zh-CN").text
    assert "以北京的记录为准" in chinese
    assert 'lang="zh-CN"' in chinese


def test_a_platform_s_name_cannot_put_anything_into_the_picture() -> None:
    told = explained(frame_of([ride(1, "operator-a"), ride(2, "aggregator-a", second=70)]), 1)
    evil = Name(en='<script>alert("x")</script>', zh="</text><a>")
    for language in LANGUAGES:
        drawn = timeline_svg(told, language, {"operator-a": evil, "aggregator-a": evil})
        assert {one.tag.rpartition("}")[2] for one in ET.fromstring(drawn).iter()} == {
            "svg", "title", "desc", "line", "text", "rect",
        }  # fmt: skip


def test_a_day_a_moment_and_another_act_have_shapes_of_their_own() -> None:
    frame = frame_of(
        [
            ride(1, "operator-a", event_key=1), ride(2, "payment-a", minute=10, lasts=0, event_key=1),
            ride(3, "aggregator-a", behaviour="MOB-NODRIVE", precision="day", quantity_micro=None),
        ]
    )  # fmt: skip
    ride_drawn = ET.fromstring(timeline_svg(explained(frame, 2), "en", {}))
    assert [one.tag.rpartition("}")[2] for one in ride_drawn if one.tag.endswith(("rect", "circle"))] == [
        "rect",
        "circle",
    ]
    day_drawn = ET.fromstring(timeline_svg(explained(frame, 3), "en", {}))
    bars = [one for one in day_drawn if one.tag.endswith("rect")]
    assert [(one.get("stroke-dasharray"), one.get("fill")) for one in bars] == [("4 3", "none"), (None, "currentColor")]
    assert "another act" in ET.tostring(day_drawn, encoding="unicode")


def test_the_page_speaks_the_browser_s_language(hub: Hub) -> None:
    told_twice(hub)
    give_password(hub, "li")
    li = Visitor(hub)
    li.sign_in("li")
    answer = li.get("/acts/1", headers={"accept": "text/html", "accept-language": "zh-CN,en;q=0.5"})
    assert "为什么" in answer.text


def test_nobody_sees_another_person_s_act(hub: Hub) -> None:
    told_twice(hub)
    link_person(hub, "wang", {}, set(BEIJING["behaviours"]), NOW)
    give_password(hub, "wang")
    wang = Visitor(hub)
    wang.sign_in("wang")
    stranger, unknown = wang.see("/acts/1"), wang.see("/acts/77")
    assert (stranger.status, unknown.status) == (404, 404)
    assert stranger.text == unknown.text
    assert Visitor(hub).see("/acts/1").goes_to == "/signin?next=%2Facts%2F1"


# On the command line.


def test_the_command_tells_the_sentence_the_reports_and_the_points(tanlian: Terminal, opened: Hub) -> None:
    told_twice(opened)
    ran = tanlian("explain", "2")
    assert ran.code == 0, ran.err
    flat = " ".join(ran.out.replace("│", " ").split())
    assert SECOND in flat
    assert "小镇单车报告了您2026年11月18日08:12的共享单车骑行" in flat
    assert "Compared on points" in ran.out
    assert "same_time_and_amount" in ran.out
    told = tanlian("explain", "2", "--json").json
    assert told["sentence"]["en"] == SECOND
    assert told["data"]["match"]["points"] >= told["data"]["match"]["accept"]
    assert tanlian("explain", "1", "--lang", "zh").out.find("您2026") < tanlian("explain", "1").out.find("您2026")


def test_the_command_shows_a_platform_no_more_than_it_may_know(tanlian: Terminal, opened: Hub) -> None:
    told_twice(opened)
    ran = tanlian("explain", "2", "--for", BIKES, "--json")
    assert CITY not in ran.out
    assert "Beijing" not in ran.out
    assert ran.json["sentence"]["en"].endswith("so both are one act: only one of them can count.")
    assert "is not one of bike-town" in tanlian("explain", "1", "--for", BIKES).complaint


def test_what_cannot_be_explained_is_one_line(tanlian: Terminal, opened: Hub, tmp_path: Path) -> None:
    assert tanlian("explain", "5").complaint == "there is no record 5"
    assert "belong together" in tanlian("explain", "5", "--records", tmp_path).complaint
    assert "no result of a clearing run" in tanlian("explain", "5", "--records", tmp_path, "--out", tmp_path).complaint
