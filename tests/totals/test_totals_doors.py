"""Totals and programmes over HTTP, in the portal and on the command line: who sees what, and what is refused."""

import csv
import io
import json
from typing import Any
from xml.etree import ElementTree

import pytest
from tests_support.deliveries import BEIJING, join
from tests_support.portal import Visitor, give_password
from tests_support.terminal import Terminal
from tests_support.tokens import Machine
from tests_support.totalling import CITY, FIRM, NOW, PROGRAMME, Town
from tests_support.web import look_up

from hub.context import open_hub
from hub.settings import Settings
from hub.totals.charts import TILES, Bar, bars_svg, tiles_svg
from standards.regions import province_codes

OTHER = "other-city"


@pytest.fixture
def told(town: Town) -> Town:
    """Beijing's and Shanghai's acts of two behaviours; twelve people are in Beijing's programme."""
    join(town.hub, BEIJING | {"id": OTHER})
    town.add()
    town.join(*range(12))
    rows = [town.row(n) for n in range(26)] + [town.row(n, scene="NO_TABLEWARE", hour=12) for n in range(26)]
    town.lives([*rows, *(town.row(n, place="310000", day=17) for n in range(12, 30))])
    return town


@pytest.fixture
def person(told: Town) -> Visitor:
    give_password(told.hub, "person-0")
    browser = Visitor(told.hub)
    assert browser.sign_in("person-0").goes_to == "/"
    return browser


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def put(browser: Visitor, body: Any, key: str = "1", csrf: str | None = None, programme: str = FIRM) -> Any:
    headers = {"idempotency-key": key, "x-csrf-token": browser.csrf if csrf is None else csrf}
    content = body if isinstance(body, str) else json.dumps(body)
    return browser.call("PUT", f"/v1/account/programmes/{programme}", content=content, headers=headers)


def test_a_participant_sees_regional_totals_and_its_own_programme(told: Town) -> None:
    machine = Machine(told.hub, CITY)
    answer = machine.get("/v1/totals?by=region,behaviour&period=2026-11").json()
    assert [(row["region"], row["behaviour"], row["acts"]) for row in answer["rows"]] == [
        (110000, "FOOD-NOTABLEWARE", 26), (110000, "MOB-BIKE", 26), (310000, "MOB-BIKE", 18),
    ]  # fmt: skip
    assert sum(row["counted_mg"] for row in answer["rows"]) == answer["total"]["counted_mg"]
    assert answer["total"]["people_at_least"] == 30
    assert answer["rows"][0]["name_zh"] == "北京 · 不用餐具" or answer["rows"][0]["name_zh"].startswith("北京 · ")
    firm = machine.get(f"/v1/totals?period=2026-11&programme={FIRM}").json()
    assert (firm["programme"], firm["rows"], firm["total"]["acts"]) == (FIRM, [], 24)
    (listed,) = machine.get("/v1/programmes").json()["programmes"]
    assert (listed["id"], listed["members_at_least"], listed["open"]) == (FIRM, 0, True)
    assert listed["members_as_of"] == "2026-11-01T00:00:00+08:00"


def test_another_participant_s_programme_is_like_none(told: Town) -> None:
    machine = Machine(told.hub, OTHER)
    theirs = machine.get(f"/v1/totals?period=2026-11&programme={FIRM}")
    none = machine.get("/v1/totals?period=2026-11&programme=nowhere")
    assert problem(theirs) == problem(none) == (404, "not_found")
    assert machine.get("/v1/programmes").json() == {"programmes": []}
    assert machine.get("/v1/totals?period=2026").json()["total"]["acts"] == 70


@pytest.mark.parametrize(
    "query", ["period=2026-13", "period=2026-11-00", "period=", "by=person&period=2026", "by=region,region&period=2026",
              "period=2026-11-5", "by=window&period=2026-11", "period=２０２６"],
)  # fmt: skip
def test_other_spans_and_splits_are_refused(told: Town, query: str) -> None:
    assert problem(Machine(told.hub, CITY).get(f"/v1/totals?{query}")) == (422, "usage_problem")


def test_without_a_participant_s_token_nothing_is_told(told: Town) -> None:
    assert Visitor(told.hub).get("/v1/totals?period=2026").status_code == 401
    assert Machine(told.hub).get("/v1/totals?period=2026").status_code == 403
    assert Machine(told.hub).get("/v1/programmes").status_code == 403


def test_a_person_joins_and_leaves_by_their_session(told: Town, person: Visitor) -> None:
    mine = person.get("/v1/account/programmes").json()
    assert [one["programme"] for one in mine["memberships"]] == [FIRM]
    assert mine["shares"][FIRM]["acts"] == 2
    assert put(person, {"decision": "leave"}).json() == {"programme": FIRM, "member": False}
    assert put(person, {"decision": "join"}, key="2").json() == {"programme": FIRM, "member": True}
    # The same write again is the same answer and no further change.
    assert put(person, {"decision": "leave"}).json() == {"programme": FIRM, "member": False}
    assert len(person.get("/v1/account/programmes").json()["memberships"]) == 2
    assert problem(put(person, {"decision": "join"}, key="1")) == (409, "conflict")
    assert problem(put(person, {"decision": "join"}, key="3", programme="nowhere")) == (404, "not_found")


@pytest.mark.parametrize("body", ['{"decision": "stay"}', "{}", "no", '{"decision": "join", "decision": "leave"}'])
def test_what_is_no_decision_is_refused(person: Visitor, body: str) -> None:
    assert problem(put(person, body)) == (422, "usage_problem")


def test_a_forged_decision_changes_nothing(told: Town, person: Visitor) -> None:
    before = look_up(told.hub, "SELECT COUNT(*) FROM programme_membership WHERE left_at IS NULL")
    assert put(person, {"decision": "leave"}, csrf="forged").status_code == 403
    assert put(person, {"decision": "leave"}, key="").status_code == 422
    assert person.send(f"/programmes/{FIRM}/leave", csrf="forged").status == 403
    assert look_up(told.hub, "SELECT COUNT(*) FROM programme_membership WHERE left_at IS NULL") == before


def test_an_app_may_show_and_leave_and_sends_the_person_to_join(told: Town) -> None:
    app = Machine.recipient(told.hub)
    token = app.consented(told.people[0].subject_id)["access_token"]
    shown = app.get("/v1/account/programmes", token).json()
    assert [one["programme"] for one in shown["memberships"]] == [FIRM]
    assert "shares" not in shown

    def decide(what: str, key: str) -> Any:
        return app.call(
            "PUT", f"/v1/account/programmes/{FIRM}", token, json={"decision": what}, headers={"idempotency-key": key}
        )

    assert decide("leave", "1").json() == {"programme": FIRM, "member": False}
    refused = decide("join", "2")
    assert refused.status_code == 403
    assert f"{told.hub.settings.issuer}/programmes" in refused.json()["title"]


def test_the_portal_shows_programmes_with_the_person_s_own_share(told: Town, person: Visitor) -> None:
    shown = person.see("/programmes").text
    assert "某公司" in shown
    assert "2 次" in shown
    assert "10+ 人" in shown
    assert person.send(f"/programmes/{FIRM}/leave").goes_to == "/programmes"
    assert "已退出" in person.see("/programmes").text
    assert person.send(f"/programmes/{FIRM}/join").goes_to == "/programmes"
    assert person.send("/programmes/nowhere/join").status == 404
    assert "/signin" in (Visitor(told.hub).see("/programmes").goes_to or "")


def test_who_is_in_no_programme_sees_no_total_of_it(told: Town) -> None:
    give_password(told.hub, "person-20")
    browser = Visitor(told.hub)
    browser.sign_in("person-20")
    assert "今年合计" not in browser.see("/programmes").text


def test_everybody_sees_the_regional_totals(told: Town) -> None:
    page = Visitor(told.hub).see("/totals")
    assert page.status == 200
    for words in ("北京", "上海", "2026-11", "30+", "10+", "<svg", "自行车" if "自行车" in page.text else "骑行"):
        assert words in page.text, words
    assert FIRM not in page.text
    assert "某公司" not in page.text
    assert Visitor(told.hub).see("/totals?period=2026").status == 200
    assert Visitor(told.hub).see("/totals?period=soon").status == 422


def test_a_hub_without_totals_says_so(town: Town) -> None:
    assert "尚无可公布的数字" in Visitor(town.hub).see("/totals").text


def test_pictures_are_well_formed_and_tell_figures_in_words() -> None:
    assert set(TILES) == set(province_codes())
    assert len(set(TILES.values())) == len(TILES)
    tiles = tiles_svg({110000: 5_000_000, 310000: 10, 999999: 7, 120000: 0})
    bars = bars_svg("<标题>", [Bar(name=f"<{n}>", mg=n * 1000, people_at_least=10) for n in range(45)])
    empty = bars_svg("", [])
    for picture in (tiles, bars, empty):
        assert ElementTree.fromstring(picture).tag.endswith("svg")
        assert "style=" not in picture
        assert "<script" not in picture
    assert "5.0kg" in tiles
    assert "另有 5 项" in bars
    assert "尚无可公布的数字" in empty


@pytest.fixture
def terminal(tanlian: Terminal) -> tuple[Terminal, Town]:
    hub = open_hub(Settings(), clock=lambda: NOW)
    return tanlian, Town(hub)


def test_the_command_line_adds_programmes_and_shows_totals(terminal: tuple[Terminal, Town]) -> None:
    tanlian, town = terminal
    assert tanlian("totals", "show").complaint.startswith("nothing is told yet")
    file = tanlian.write("programme.json", PROGRAMME)
    assert "stored" in tanlian("programmes", "add", file).out
    assert "unchanged" in tanlian("programmes", "add", file).out
    assert [one["id"] for one in tanlian("programmes", "list", "--json").json] == [FIRM]
    assert tanlian("programmes", "show", FIRM, "--json").json["name_zh"] == "某公司"
    town.join(*range(13))
    town.deliver([town.row(n) for n in range(26)])
    town.close()
    (released,) = tanlian("totals", "update", "--json").json
    assert (released["facts"], released["month"]) == ("counted", 202611)
    assert "nothing new is final" in tanlian("totals", "update").out
    chart, table = tanlian.folder / "chart.svg", tanlian.folder / "table.csv"
    words = ("totals", "show", "--by", "region,behaviour", "--period", "2026-11", "--csv", table, "--chart", chart)
    document = tanlian(*words, "--json").json
    assert [(row["region"], row["behaviour"], row["acts"]) for row in document["rows"]] == [(110000, "MOB-BIKE", 26)]
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")))
    assert [(row["region"], row["acts"], row["people_at_least"]) for row in rows] == [("110000", "26", "20")]
    assert ElementTree.fromstring(chart.read_text(encoding="utf-8")).tag.endswith("svg")
    assert "20+" in tanlian(*words).out
    assert tanlian("totals", "show", "--programme", FIRM, "--json").json["total"]["acts"] == 13
    assert "fewer than 10" in tanlian("programmes", "people-count", FIRM).out
    assert tanlian("programmes", "people-count", FIRM, "--json").json["members_at_least"] == 0
    assert "closed" in tanlian("programmes", "close", FIRM).out


def test_the_command_line_says_in_one_line_what_is_wrong(terminal: tuple[Terminal, Town]) -> None:
    tanlian, _ = terminal
    assert "there is no programme" in tanlian("programmes", "show", "nowhere").complaint
    assert "not strict JSON" in tanlian("programmes", "add", tanlian.write("wrong.json", "{")).complaint
    assert "No such file" in tanlian("programmes", "add", "nowhere.json").complaint
    assert "there are region" in tanlian("totals", "show", "--by", "person", "--period", "2026").complaint
    assert "name a month" in tanlian("totals", "update", "--month", "2026").complaint
    assert (
        "there is no participant"
        in tanlian("programmes", "add", tanlian.write("nobody.json", PROGRAMME | {"participant": "nobody"})).complaint
    )
