"""The page where a person makes attestations, sees what they say, downloads them and takes them back; without any script."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from tests_support.attesting import BIKE_MG, NOW, Recipient, jwks_of, list_of, own, payload_of
from tests_support.oauth import EC
from tests_support.portal import Visitor, give_password, visitor
from tests_support.rfc9901 import check_sd_jwt, status_bit
from tests_support.web import app_of, count

from hub.attestations.content import MOST_A_DAY
from hub.context import Hub

PERIOD = {"from": "2026-11-01", "until": "2026-11-20"}


@pytest.fixture
def browser(hub: Hub, li: int) -> Visitor:
    give_password(hub, "li")
    mine = Visitor(hub)
    assert mine.sign_in().goes_to == "/"
    return mine


def test_a_person_makes_one_sees_it_downloads_it_and_takes_it_back(hub: Hub, browser: Visitor) -> None:
    page = browser.see("/attestations")
    (form,) = [one for one in page.page.forms if one.action.endswith("/attestations")]
    assert (form.values["from"], form.values["until"]) == ("2026-01-01", "2026-11-20")
    made = browser.send("/attestations", **PERIOD, **{"say.final_mg": "yes", "say.by_category_mg.travel": "yes"})
    assert (made.status, made.goes_to is not None) == (303, True)
    shown = browser.see(str(made.goes_to)).text
    for words in ("其中已终结", "Of it final", "按行为类别：行", "2026-11-01 – 2026-11-20", "有效", "Good until"):
        assert words in shown
    assert "已核算总量" not in shown
    file = browser.get(f"{made.goes_to}/download")
    assert file.headers["content-type"].startswith("application/dc+sd-jwt")
    assert file.headers["content-disposition"].startswith('attachment; filename="tanlian-20261120-')
    assert file.headers["cache-control"] == "no-store"
    claims = check_sd_jwt(file.text, jwks_of(hub)["jwks"])
    assert claims["final_mg"] > 2 * BIKE_MG
    assert "cleared_mg" not in claims
    assert file.text in shown
    assert browser.send(f"{made.goes_to}/revoke").goes_to == made.goes_to
    after = browser.see(str(made.goes_to)).text
    assert "已撤销" in after
    assert "taken back by you" in after
    assert f'action="{made.goes_to}/revoke"' not in after
    assert status_bit(list_of(hub), jwks_of(hub)["jwks"], claims["status"]) == 1
    assert f'action="{made.goes_to}/revoke"' not in browser.see("/attestations").text


def test_the_page_lists_what_recipients_had_made_too_and_takes_it_back(hub: Hub, li: int, browser: Visitor) -> None:
    bank = Recipient.of(hub, li)
    name = payload_of(bank.ask(disclose=["acts"]).json()["attestation"])["jti"]
    assert "一家银行" in browser.see("/attestations").text
    assert "一家银行" in browser.see(f"/attestations/{name}").text
    assert browser.send(f"/attestations/{name}/revoke").status == 303
    assert bank.see(f"/{name}").json()["reason"] == "by_person"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "请至少勾选一项"),
        ({"say.acts": "yes", "from": "2026-11-21"}, "the period is empty"),
        ({"say.acts": "yes", "until": "2027-01-01"}, "ends in the future"),
        ({"say.acts": "yes", "from": "yesterday"}, "from must be a day"),
        ({"say.acts": "yes", "until": "2026-11-02"}, "nothing that may be told was cleared"),
        ({"say.acts": "yes", "key": "my key"}, "P-256"),
    ],
)
def test_what_is_wrong_is_said_above_the_form_which_keeps_what_was_filled_in(
    hub: Hub, browser: Visitor, fields: dict[str, str], says: str
) -> None:
    answer = browser.send("/attestations", **{**PERIOD, **fields})
    assert answer.status == 400
    assert says in answer.text
    assert f'value="{fields.get("until", PERIOD["until"])}"' in answer.text
    assert ("checked" in answer.text) is ("say.acts" in fields)
    assert count(hub, "attestation") == {"attestation": 0}


def test_a_wallet_s_key_is_bound_and_the_page_says_so(browser: Visitor) -> None:
    key = json.dumps(EC.as_dict(private=False))
    made = browser.send("/attestations", **PERIOD, **{"say.acts": "yes", "key": key})
    assert "your wallet signs when you show it" in browser.see(str(made.goes_to)).text
    statement = browser.get(f"{made.goes_to}/download").text
    assert payload_of(statement)["cnf"]["jwk"]["x"] == EC.as_dict(private=False)["x"]


def test_every_part_can_be_told_in_words(hub: Hub, li: int, browser: Visitor) -> None:
    name, _ = own(hub, li)
    shown = browser.see(f"/attestations/{name}").text
    for words in (
        "按省份：广东",
        "按省份：北京",
        "按行为类别：金融",
        "By province",
        "方法学版本",
        hub.settings.methodology,
    ):
        assert words in shown


def test_the_page_needs_a_person_who_is_signed_in(hub: Hub, li: int) -> None:
    for path in ("/attestations", "/attestations/att_x", "/attestations/att_x/download"):
        assert (Visitor(hub).see(path).goes_to or "").startswith("/signin")
    assert (Visitor(hub).send("/attestations", **PERIOD).goes_to or "").startswith("/signin")


@pytest.mark.parametrize("name", ["att_none", "%00", "%E7%A2%B3", "x" * 300])
def test_what_is_not_there_is_a_page_that_says_so(browser: Visitor, name: str) -> None:
    for path in (f"/attestations/{name}", f"/attestations/{name}/download"):
        assert browser.see(path).status == 404
    assert browser.send(f"/attestations/{name}/revoke").status == 404
    assert browser.get(f"/v1/attestations/{name[:32]}").status_code == 404


def test_a_person_without_acts_is_told_so(hub: Hub) -> None:
    browser = visitor(hub, "zhao")
    answer = browser.send("/attestations", **PERIOD, **{"say.acts": "yes"})
    assert (answer.status, "nothing that may be told was cleared" in answer.text) == (400, True)


def test_after_so_many_in_a_day_the_page_says_when_to_come_again(hub: Hub, li: int, browser: Visitor) -> None:
    for _ in range(MOST_A_DAY):
        own(hub, li, "acts")
    answer = browser.send("/attestations", **PERIOD, **{"say.acts": "yes"})
    assert (answer.status, "try again tomorrow" in answer.text) == (429, True)


def test_one_that_is_over_is_shown_as_over(hub: Hub, li: int) -> None:
    name, _ = own(hub, li, "acts")
    give_password(hub, "li")
    later = replace(hub, clock=lambda: NOW + timedelta(days=400))
    browser = Visitor(later)
    assert browser.app is app_of(later)
    browser.sign_in()
    shown = browser.see(f"/attestations/{name}").text
    assert "已过期" in shown
    assert "/revoke" not in shown
