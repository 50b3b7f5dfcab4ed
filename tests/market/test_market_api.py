"""A market's blocks over HTTP: who may, what is asked, and that the same write twice is one."""

from typing import Any

import pytest
from tests_support.marketing import CHARGED, MARKET, TONNE, Market, Town, grams, snapshot
from tests_support.web import look_up

from hub.audit import audit
from hub.context import Hub


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


@pytest.fixture
def block(market: Market) -> str:
    """The id of the first of two blocks."""
    made = market.write("", {})
    assert made.status_code == 201, made.text
    first, second = made.json()["blocks"]
    assert (first["serial"], second["serial"]) == (f"{MARKET}-2026-000000001", f"{MARKET}-2026-000000002")
    assert (first["state"], first["mg"], first["vintage_year"]) == ("held", TONNE, 2026)
    return str(first["block_id"])


def test_a_block_goes_its_whole_way_over_http(hub: Hub, market: Market, block: str) -> None:
    for step, body, state in (
        ("freeze", {"purpose": "quota_offset", "timeout_s": 3600}, "frozen"),
        ("release", {}, "held"),
        ("freeze", {"purpose": "quota_offset"}, "frozen"),
        ("pending", {"reference": "SHEA-1"}, "pending_offset"),
        ("retire", {"beneficiary": "某钢铁厂"}, "retired"),
    ):
        done = market.write(f"/{block}/{step}", body)
        assert (done.status_code, done.json()["state"]) == (200, state), done.text
        assert market.see(f"/{block}").json() == done.json()
    told = market.write(f"/{block}/income", {"amount_fen": 7_900, "reference": "deal"}).json()
    assert (told["amount_fen"], told["people"]) == (7_900, 3)
    assert grams(hub)["retired"] == TONNE
    assert audit(hub).holds


def test_the_same_write_twice_is_one(hub: Hub, market: Market) -> None:
    first = market.write("", {"most": 1}, key="one")
    before = snapshot(hub)
    again = market.write("", {"most": 1}, key="one")
    assert (again.status_code, again.json()) == (201, first.json())
    assert problem(market.write("", {"most": 2}, key="one")) == (409, "conflict")
    assert snapshot(hub) == before
    assert len(market.write("", {}, key="two").json()["blocks"]) == 1


def test_blocks_are_listed_in_pages_and_by_state(market: Market, block: str) -> None:
    market.write(f"/{block}/freeze", {"purpose": "voluntary"})
    page = market.see("?limit=1").json()
    assert [one["block_id"] for one in page["blocks"]] == [block]
    rest = market.see(f"?limit=1&cursor={page['next']}").json()
    assert (len(rest["blocks"]), rest["next"]) == (1, None)
    assert [one["block_id"] for one in market.see("?state=frozen").json()["blocks"]] == [block]
    assert market.see("?vintage_year=2025").json() == {"blocks": [], "next": None}
    assert market.see("?state=sold").status_code == 422


def test_where_there_is_no_whole_tonne_nothing_is_pooled(hub: Hub, market: Market) -> None:
    before = grams(hub)
    made = market.write("", {"vintage_year": 2024})
    assert (made.status_code, made.json()) == (201, {"blocks": []})
    assert grams(hub) == before


REFUSED: dict[str, tuple[str, Any, tuple[int, str]]] = {
    "an unknown member": ("", {"pool": "all"}, (422, "usage_problem")),
    "a year that is a text": ("", {"vintage_year": "2026"}, (422, "usage_problem")),
    "a truth for a number": ("", {"most": True}, (422, "usage_problem")),
    "no purpose": ("/{}/freeze", {}, (422, "usage_problem")),
    "an unknown purpose": ("/{}/freeze", {"purpose": "fun"}, (422, "usage_problem")),
    "too long": ("/{}/freeze", {"purpose": "voluntary", "timeout_s": 31_536_000}, (422, "usage_problem")),
    "a step that cannot be": ("/{}/retire", {"beneficiary": "A fair"}, (409, "conflict")),
    "nothing to release": ("/{}/release", {}, (409, "conflict")),
    "no such block": ("/b_nobodys/freeze", {"purpose": "voluntary"}, (404, "not_found")),
    "no amount": ("/{}/income", {"amount_fen": 0, "reference": "x"}, (422, "usage_problem")),
}


def test_a_refused_write_leaves_nothing(hub: Hub, market: Market, block: str) -> None:
    before = snapshot(hub)
    for case, (path, body, told) in REFUSED.items():
        assert problem(market.write(path.format(block), body)) == told, case
        assert snapshot(hub) == before, case


def test_another_market_sees_nothing_of_it(hub: Hub, market: Market, block: str) -> None:
    other = Market.opened(hub, CHARGED)
    assert other.see().json()["blocks"] == []
    assert problem(other.see(f"/{block}")) == (404, "not_found")
    assert problem(other.write(f"/{block}/freeze", {"purpose": "voluntary"})) == (404, "not_found")
    assert problem(other.write(f"/{block}/income", {"amount_fen": 1, "reference": "x"})) == (404, "not_found")


def test_only_a_client_with_the_scope_that_acts_for_a_participant_comes_in(
    hub: Hub, town: Town, market: Market, block: str
) -> None:
    nobody = Market.opened(hub, None)
    assert nobody.see().status_code == 403
    assert nobody.write("", {}).status_code == 403
    reader = Market.opened(hub, scope="records:write grams:pool")
    reader.own = reader.token("records:write")
    assert reader.see().status_code == 403
    assert market.caller.get("/v1/blocks").status_code == 401
    # A token of a person is none of the client's own, whatever the client is registered for.
    asked = [{"type": "tanlian_account", "actions": ["pool"]}]
    told = market.consented(town.people[0].subject_id, authorization_details=asked, scope="grams:pool")
    assert market.get("/v1/blocks", str(told["access_token"])).status_code == 403


def test_who_is_not_registered_for_pooling_pools_nothing(hub: Hub, town: Town) -> None:
    plain = Market.opened(hub, scope="blocks:write account:read")
    assert problem(plain.write("", {})) == (404, "not_found")
    assert look_up(hub, "SELECT COUNT(*) FROM credit_block") == [(0,)]
