"""The statement of a year: what was there, what moved, what is there."""

import json
from typing import Any

import pytest
from tests_support.adjusting import mend, settle_two_cities, standing
from tests_support.portal import PASSWORD, Visitor
from tests_support.using import CITY, NOW, Shop, sums, use
from typer.testing import CliRunner

from consent.people import hash_password
from consent.tables import Person
from hub.adjustments.kinds import AdjustmentKind
from hub.cli import app
from hub.context import Hub
from hub.db import reading, writing
from hub.ledger.yearly import load_year


@pytest.fixture
def person(hub: Hub) -> int:
    """Li, who redeemed a thousand milligrams, and of whom a hundred were taken back."""
    person = settle_two_cities(hub)[2].subject_id
    shop = Shop.opened(hub)
    use(shop, shop.allowed(person), 1000)
    mend(hub, AdjustmentKind.PARTIAL_REVERSAL, standing(hub)[-1], mg=100)
    return person


def year_of(hub: Hub, person: int, year: int) -> dict[str, Any]:
    with reading(hub.engine) as session:
        return load_year(session, person, year).to_dict()


def test_opening_and_what_moved_sum_to_closing(hub: Hub, person: int) -> None:
    told = year_of(hub, person, NOW.year)
    whole = sums(hub, person)["held"] + 1100
    assert told["opening_mg"] == {}
    assert told["closing_mg"] == {"held": whole - 1100, "redeemed": 1000}
    lines = {(one["entry"], one["account"], one["participant"]): one["mg"] for one in told["lines"]}
    assert lines == {
        ("issue", "pending", None): whole, ("hold", "pending", None): -whole, ("hold", "held", None): whole,
        ("reserve", "held", None): -1000, ("reserve", "reserved", None): 1000, ("use", "reserved", None): -1000,
        ("use", "redeemed", CITY): 1000, ("adjust", "held", None): -100,
    }  # fmt: skip
    assert {one["month"] for one in told["lines"]} == {NOW.month}
    assert next(one for one in told["lines"] if one["entry"] == "issue")["entries"] == 3


def test_a_year_begins_with_what_the_one_before_ended_with(hub: Hub, person: int) -> None:
    before, after = year_of(hub, person, NOW.year - 1), year_of(hub, person, NOW.year + 1)
    assert (before["lines"], before["closing_mg"]) == ([], {})
    assert after["opening_mg"] == after["closing_mg"] == year_of(hub, person, NOW.year)["closing_mg"]


def test_the_person_asks_signed_in_and_nobody_else(hub: Hub, person: int) -> None:
    with writing(hub.engine) as session:
        session.get_one(Person, person).password_hash = hash_password(PASSWORD)
    path = f"/v1/account/years/{NOW.year}"
    browser = Visitor(hub)
    assert browser.see(path).answer.status_code == 401
    browser.sign_in("li")
    assert browser.see(path).answer.json() == year_of(hub, person, NOW.year)
    assert browser.see("/v1/account/years/1999").answer.status_code == 422
    shop = Shop.opened(hub)
    token = str(shop.consented(person)["access_token"])
    assert shop.call("GET", path, token).status_code == 403


def test_the_command_line_shows_a_year(hub: Hub, person: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANLIAN_DATABASE_URL", hub.settings.database_url)
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(hub.settings.keys_dir))
    words = ["people", "statement", "li", "--year", str(NOW.year)]
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout) == year_of(hub, person, NOW.year)
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "closing: held" in shown.output
    assert "redeemed" in shown.output
