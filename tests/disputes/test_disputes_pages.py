"""The pages of a person: opening at the act, following, answering and taking back; without any script."""

import json
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from zipfile import ZipFile

import pytest
from tests_support.disputing import (
    employ,
    events,
    judged,
    moved,
    opened,
    person,
    platform,
    require_sound,
    state_of,
    written,
)
from tests_support.people import LinkedPerson
from tests_support.portal import Visitor, give_password, visitor
from tests_support.using import CITY, NOW, Shop, rows, sums, use

from hub.context import Hub
from hub.disputes.rules import Step
from hub.rights.export import export_person

EVIL = "<script>alert(1)</script> </textarea><b onclick='x'>not me</b> & “骑的不是我”"


@pytest.fixture
def browser(hub: Hub, li: LinkedPerson) -> Visitor:
    give_password(hub, "li")
    mine = Visitor(hub)
    assert mine.sign_in().goes_to == "/"
    return mine


def test_a_person_opens_at_the_act_follows_answers_and_takes_back(hub: Hub, li: LinkedPerson, browser: Visitor) -> None:
    event = events(hub)[0]
    whole = sums(hub, li.subject_id)["held"]
    act = browser.see(f"/acts/{event}?lang=en").text
    assert f'action="/acts/{event}/dispute"' in act
    assert "Open a dispute" in act
    made = browser.send(f"/acts/{event}/dispute", what="event.link", text="it was my brother", claimed_g="")
    assert made.status == 303
    path = str(made.goes_to)
    shown = browser.see(path).text
    for words in ("it was my brother", "已提出", "opened", "2026-12-11", "67.76 g", "撤回争议", f"/acts/{event}"):
        assert words in shown, words
    home = browser.see("/").text
    assert "Locked by a dispute" in home
    assert "1 dispute is open" in home
    act = browser.see(f"/acts/{event}?lang=zh-CN").text
    assert "关于此行为的争议正在处理" in act
    assert "<form" not in act.partition("觉得不对")[2].partition("</section>")[0]
    assert browser.send(f"{path}/evidence", text="he says so himself").goes_to == path
    written(hub, path.rpartition("/")[2], platform(CITY), "our record stands")
    shown = browser.see(path).text
    assert shown.index("it was my brother") < shown.index("he says so himself") < shown.index("our record stands")
    assert path in browser.see("/disputes").text
    assert browser.send(f"{path}/withdraw").goes_to == path
    after = browser.see(path).text
    assert "已撤回" in after
    assert f"{path}/withdraw" not in after
    assert f"{path}/evidence" not in after
    assert sums(hub, li.subject_id) == {"held": whole}
    assert "Locked by a dispute" not in browser.see("/").text
    require_sound(hub)


def test_what_was_written_is_text_and_never_markup(hub: Hub, li: LinkedPerson, browser: Visitor) -> None:
    event = events(hub)[0]
    made = browser.send(f"/acts/{event}/dispute", what="event.frad", text=EVIL)
    browser.send(f"{made.goes_to}/evidence", text=EVIL)
    shown = browser.see(str(made.goes_to)).text
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "<script" not in shown
    assert "<b onclick" not in shown
    kept = browser.send(f"/acts/{events(hub)[1]}/dispute", what="nothing", text=EVIL)
    assert kept.status == 400
    assert "<script" not in kept.text
    assert "&lt;/textarea&gt;" in kept.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"what": "", "text": "x"}, "请选择有误之处"),
        ({"what": "event.moon", "text": "x"}, "请选择有误之处"),
        ({"what": "event.link", "text": " "}, "say what is wrong"),
        ({"what": "event.link", "text": "x" * 4001}, "1 to 4000 characters"),
        ({"what": "event.link", "text": "a\x00b"}, "no text"),
        ({"what": "amount.fact", "text": "x", "claimed_g": ""}, "请以克填写"),
        ({"what": "amount.fact", "text": "x", "claimed_g": "NaN"}, "请以克填写"),
        ({"what": "amount.fact", "text": "x", "claimed_g": "-1"}, "请以克填写"),
        ({"what": "amount.fact", "text": "x", "claimed_g": "1e999"}, "请以克填写"),
        ({"what": "amount.fact", "text": "x", "claimed_g": "0.0001"}, "请以克填写"),
        ({"what": "amount.fact", "text": "x", "claimed_g": "67.76"}, "counts just that"),
    ],
)
def test_what_is_wrong_is_said_above_the_form_which_keeps_what_was_filled_in(
    hub: Hub, browser: Visitor, fields: dict[str, str], says: str
) -> None:
    answer = browser.send(f"/acts/{events(hub)[0]}/dispute", **fields)
    assert answer.status == 400
    assert says in answer.text
    assert f'value="{fields.get("claimed_g", "")}"' in answer.text
    assert ("selected" in answer.text) is (fields["what"] in ("event.link", "amount.fact"))
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(0,)]


def test_an_amount_is_told_in_grams(hub: Hub, browser: Visitor) -> None:
    made = browser.send(f"/acts/{events(hub)[0]}/dispute", what="amount.fact", text="half of it", claimed_g=" 33.88 ")
    assert rows(hub, "SELECT target, claimed_mg FROM dispute") == [("amount", 33_880)]
    assert "33.88 g" in browser.see(str(made.goes_to)).text


def test_an_account_and_a_use_are_contested_on_the_page_of_all(hub: Hub, li: LinkedPerson, browser: Visitor) -> None:
    shop = Shop.opened(hub)
    used = use(shop, shop.allowed(li.subject_id), 1000)
    page = browser.see("/disputes").text
    assert f'value="link:{li.link_id}"' in page
    assert f'value="retirement:{used}"' in page
    for about, what in ((f"link:{li.link_id}", "link"), (f"retirement:{used}", "oper")):
        made = browser.send("/disputes", about=about, what=what, text="not mine")
        assert made.status == 303
        assert "used or set aside before" in browser.see(str(made.goes_to)).text
    for about in ("", "event:1", "link:l_nobodys", "link:\x00", "retirement:碳"):
        answer = browser.send("/disputes", about=about, what="link", text="not mine")
        assert answer.status in (400, 404)
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(2,)]


def test_the_outcome_is_shown_with_its_reason(hub: Hub, li: LinkedPerson, browser: Visitor) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    moved(hub, dispute, Step.ASKED)
    assert "Please answer by 2026-11-27" in browser.see(f"/disputes/{dispute}").text
    judged(hub, dispute)
    shown = browser.see(f"/disputes/{dispute}").text
    for words in ("成立", "upheld", "seen by two", "67.76 g"):
        assert words in shown, words
    assert "Nothing of yours" not in shown


def test_an_overdue_decision_is_shown_as_such(hub: Hub, li: LinkedPerson) -> None:
    opened(hub, person(li.subject_id), event_id=events(hub)[0])
    give_password(hub, "li")
    late = Visitor(replace(hub, clock=lambda: NOW + timedelta(days=40)))
    late.sign_in()
    assert "已逾期" in late.see("/disputes").text


def test_another_person_sees_and_changes_nothing(hub: Hub, li: LinkedPerson, browser: Visitor) -> None:
    event = events(hub)[0]
    dispute = str(browser.send(f"/acts/{event}/dispute", what="event.link", text="a secret").goes_to)
    other = visitor(hub, "zhao")
    for path in (dispute, f"/acts/{event}/dispute"):
        answer = other.see(path)
        assert answer.status == 404
        assert "a secret" not in answer.text
    for path, fields in (
        (f"{dispute}/evidence", {"text": "x"}), (f"{dispute}/withdraw", {}),
        (f"/acts/{event}/dispute", {"what": "event.link", "text": "x"}),
        ("/disputes", {"about": f"link:{li.link_id}", "what": "link", "text": "x"}),
    ):  # fmt: skip
        assert other.send(path, **fields).status == 404, path
    assert state_of(hub, dispute.rpartition("/")[2]) == "opened"
    assert rows(hub, "SELECT COUNT(*) FROM dispute_evidence") == [(1,)]


def test_a_form_of_another_site_is_not_taken(hub: Hub, li: LinkedPerson, browser: Visitor) -> None:
    event = events(hub)[0]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[1])
    for path, fields in (
        (f"/acts/{event}/dispute", {"what": "event.link", "text": "x"}), ("/disputes", {"text": "x"}),
        (f"/disputes/{dispute}/evidence", {"text": "x"}), (f"/disputes/{dispute}/withdraw", {}),
    ):  # fmt: skip
        assert browser.send(path, headers={"origin": "https://evil.example"}, **fields).status == 403, path
        assert browser.send(path, **{**fields, "csrf": "0" * 32}).status == 403, path
        assert (Visitor(hub).send(path, **fields).goes_to or "").startswith("/signin"), path
    assert rows(hub, "SELECT state FROM dispute") == [("opened",)]


@pytest.mark.parametrize("name", ["d_none", "%00", "%E7%A2%B3", "x" * 300])
def test_what_is_not_there_is_a_page_that_says_so(browser: Visitor, name: str) -> None:
    assert browser.see(f"/disputes/{name}").status == 404
    assert browser.send(f"/disputes/{name}/evidence", text="x").status == 404
    assert browser.send(f"/disputes/{name}/withdraw").status == 404
    assert browser.send(f"/acts/{name}/dispute", what="event.link", text="x").status == 404


def test_too_much_is_not_read(browser: Visitor, hub: Hub) -> None:
    assert browser.send(f"/acts/{events(hub)[0]}/dispute", what="event.link", text="x" * 1_048_576).status == 413


def test_a_person_s_copy_has_their_disputes(hub: Hub, li: LinkedPerson) -> None:
    opened(hub, person(li.subject_id), event_id=events(hub)[0], text="骑的不是我")
    file = BytesIO()
    export_person(hub, li.subject_id, file)
    with ZipFile(file) as archive:
        (told,) = json.loads(archive.read("account.json"))["disputes"]
    assert (told["state"], told["evidence"][0]["text"]) == ("opened", "骑的不是我")


def test_a_person_without_anything_is_told_so(hub: Hub) -> None:
    employ(hub)
    assert "目前没有争议" in visitor(hub, "zhao").see("/disputes").text
