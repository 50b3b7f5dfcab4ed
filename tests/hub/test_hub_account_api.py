"""A person's account as a recipient sees it: what the consent names, as often as it says, each look on record."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.oauth import TYPE
from tests_support.people import link_person
from tests_support.tokens import Machine
from tests_support.web import count, look_up

from consent.grants import pause_grant
from consent.terms import Sensitive
from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import writing
from hub.pipeline import clear_sealed, seal_window, take_delivery

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
CITY, CAR = "beijing-green-life", "kuaidian"
BEHAVIOURS = ["MOB-BIKE", "MOB-METRO", "MOB-BUS", "FOOD-CLEANPLATE", "MOB-EVCHARGE"]
DAYS = ["2026-11-15", "2026-11-16", "2026-11-17", "2026-11-18"]


def ride(number: str, scene: str, day: str) -> dict[str, Any]:
    at = f"{day}T08:12:03+08:00"
    return act(number, scene=scene, beginTime=at, endTime=at.replace("08:12", "08:24"))


@pytest.fixture
def town(hub: Hub) -> Hub:
    """Li has acts of four days at two platforms; another person has one of each kind too."""
    city, car = join(hub, BEIJING), join(hub, KUAIDIAN)
    link_person(hub, "li", {CITY: "bj-1", CAR: "kd-1"}, {*BEIJING["behaviours"], *KUAIDIAN["behaviours"]}, NOW)
    link_person(hub, "wang", {CITY: "bj-2"}, set(BEIJING["behaviours"]), NOW)
    scenes = ["BIKE", "METRO", "BUS"]
    rides = [ride(f"{n}{m}", scene, day) for n, day in enumerate(DAYS) for m, scene in enumerate(scenes)]
    take_delivery(hub, city, delivery("d1", *rides, act("99", "bj-2")), now=NOW)
    charges = [charge(f"{n}", StartTime=f"{day} 10:00:00", EndTime=f"{day} 11:00:00") for n, day in enumerate(DAYS)]
    take_delivery(hub, car, delivery("k1", *charges, stream="charge_orders"), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    return hub


@pytest.fixture
def li(town: Hub) -> int:
    return int(look_up(town, "SELECT subject_id FROM person WHERE username = 'li'")[0][0])


@pytest.fixture
def shop(town: Hub) -> Machine:
    return Machine.recipient(town)


def detail(**members: Any) -> dict[str, Any]:
    return {"type": TYPE, "actions": ["read"], **members}


def entries(shop: Machine, token: str) -> list[dict[str, Any]]:
    answer = shop.get("/v1/account/entries?limit=500", token)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def later(hub: Hub, **after: int) -> Hub:
    return replace(hub, clock=lambda: NOW + timedelta(**after))


def test_a_recipient_sees_sums_acts_and_how_each_was_decided(shop: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    seen = entries(shop, token)
    assert len(seen) == 16
    assert {one["platform"] for one in seen} == {CITY, CAR}
    assert [one["start_at"] for one in seen] == sorted((one["start_at"] for one in seen), reverse=True)
    account = shop.get("/v1/account", token).json()
    assert account["events"] == 16
    assert sum(account["balances"].values()) == sum(one["counted_mg"] for one in seen) > 0
    assert account["subject"].startswith("s_")
    one = shop.get(f"/v1/account/events/{seen[0]['event_id']}", token).json()
    assert {name: one[name] for name in seen[0]} == seen[0]
    assert [record["platform"] for record in one["records"]] == [seen[0]["platform"]]


def test_pages_put_together_are_the_whole(shop: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    pages, cursor = [], ""
    while True:
        told = shop.get(f"/v1/account/entries?limit=5{cursor}", token).json()
        pages.append(told["entries"])
        if told["next_cursor"] is None:
            break
        cursor = f"&cursor={told['next_cursor']}"
    assert [len(page) for page in pages] == [5, 5, 5, 1]
    assert [one for page in pages for one in page] == entries(shop, token)


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/v1/account/entries?cursor=987654321", (404, "not_found")),
        ("/v1/account/entries?cursor=-1", (422, "invalid_request")),
        (f"/v1/account/entries?cursor={10**30}", (422, "invalid_request")),
        ("/v1/account/entries?cursor=x", (422, "invalid_request")),
        ("/v1/account/entries?limit=0", (422, "invalid_request")),
        ("/v1/account/entries?limit=501", (422, "invalid_request")),
        ("/v1/account/events/0", (422, "invalid_request")),
        (f"/v1/account/events/{2**63}", (422, "invalid_request")),
        (f"/v1/account/events/{2**63 - 1}", (404, "not_found")),
    ],
)
def test_what_is_not_there_is_a_clear_answer(shop: Machine, li: int, path: str, outcome: tuple[int, str]) -> None:
    assert problem(shop.get(path, shop.consented(li)["access_token"])) == outcome


DETAIL = st.fixed_dictionaries(
    {
        "behaviours": st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=3),
        "platforms": st.lists(st.sampled_from([CITY, CAR]), min_size=1, max_size=2),
        "from": st.sampled_from(DAYS),
        "until": st.just("2026-12-31"),
        "actions": st.sampled_from([["read"], ["read", "use"], ["use"]]),
    }
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    asked=st.lists(DETAIL, min_size=1, max_size=3),
    agreed=st.sets(st.sampled_from(Sensitive)),
    ticked=st.sets(st.integers(0, 2), min_size=1),
)
def test_nothing_is_in_an_answer_that_the_consent_does_not_name_and_nothing_that_it_names_is_missing(
    shop: Machine, li: int, asked: list[dict[str, Any]], agreed: set[Sensitive], ticked: set[int]
) -> None:
    request_uri = shop.push(
        scope="account:read grams:use", authorization_details=[{"type": TYPE, **one} for one in asked]
    ).document["request_uri"]
    named = [
        (one, [word for word in one["behaviours"] if Sensitive.WHEREABOUTS in agreed or word.startswith("FOOD")])
        for place, one in enumerate(asked)
        if place in ticked
    ]
    if not any(kept for _, kept in named):
        return  # nothing is left to allow; the tests of decisions say so
    code = shop.decide(li, request_uri, agreed=frozenset(agreed), chosen=frozenset(ticked))["code"]
    told = shop.redeem(code).document
    if "account:read" not in told["scope"].split():
        assert shop.get("/v1/account", told["access_token"]).status_code == 403
        return
    expected = sorted(
        event_id
        for event_id, behaviour, platform, start_us in all_events(shop, li)
        if any(
            "read" in one["actions"] and behaviour in kept and platform in one["platforms"]
            and one["from"] <= day_of(start_us).isoformat()
            for one, kept in named
        )
    )  # fmt: skip
    seen = entries(shop, told["access_token"])
    assert sorted(one["event_id"] for one in seen) == expected
    account = shop.get("/v1/account", told["access_token"]).json()
    assert sum(account["balances"].values()) == sum(one["counted_mg"] for one in seen)
    hidden = {event_id for event_id, *_ in all_events(shop, li)} - set(expected)
    for event_id in sorted(hidden)[:2]:
        assert shop.get(f"/v1/account/events/{event_id}", told["access_token"]).status_code == 404


def all_events(shop: Machine, subject_id: int) -> list[tuple[Any, ...]]:
    assert shop.hub is not None
    return look_up(
        shop.hub,
        "SELECT e.event_id, e.behaviour, r.platform, e.start_us FROM event e "
        "JOIN reduction_record r ON r.record_id = e.event_id WHERE e.subject_id = :s",
        s=subject_id,
    )


def day_of(start_us: int) -> date:
    return datetime.fromtimestamp(start_us / 1_000_000, tz=ZONE).date()


def test_two_details_do_not_allow_their_product(shop: Machine, li: int) -> None:
    details = [
        detail(behaviours=["MOB-BIKE"], platforms=[CAR]),
        detail(behaviours=["MOB-EVCHARGE"], platforms=[CITY]),
    ]
    told = shop.consented(li, authorization_details=details)
    assert entries(shop, told["access_token"]) == []


def test_another_person_s_act_is_not_there(shop: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    (theirs,) = look_up(shop.caller.hub, "SELECT event_id FROM event WHERE subject_id <> :s", s=li)
    assert problem(shop.get(f"/v1/account/events/{theirs[0]}", token)) == (404, "not_found")


def test_a_detail_whose_time_is_over_shows_nothing_while_another_one_goes_on(town: Hub, shop: Machine, li: int) -> None:
    details = [detail(behaviours=["MOB-BIKE"], until="2026-11-21"), detail(behaviours=["MOB-BUS"], until="2026-12-31")]
    told = shop.consented(li, authorization_details=details)
    assert {one["behaviour"] for one in entries(shop, told["access_token"])} == {"MOB-BIKE", "MOB-BUS"}
    shop.move(later(town, days=3))
    token = shop.refresh(told["refresh_token"]).document["access_token"]
    assert {one["behaviour"] for one in entries(shop, token)} == {"MOB-BUS"}


def test_who_else_told_of_an_act_is_shown_only_where_that_platform_is_allowed_for_it(
    town: Hub, shop: Machine, li: int
) -> None:
    (event_id,) = next(iter(look_up(town, "SELECT event_id FROM event WHERE behaviour = 'MOB-BIKE' ORDER BY 1")))
    with writing(town.engine) as session:
        session.connection().exec_driver_sql(
            "UPDATE decision SET event_id = (SELECT MIN(event_id) FROM event WHERE behaviour = 'MOB-BIKE') "
            "WHERE record_id = (SELECT MIN(record_id) FROM reduction_record WHERE platform = 'kuaidian')"
        )
    wide = shop.consented(li)["access_token"]
    assert {one["platform"] for one in shop.get(f"/v1/account/events/{event_id}", wide).json()["records"]} == {
        CITY,
        CAR,
    }
    narrow = shop.consented(
        li,
        authorization_details=[
            detail(behaviours=["MOB-BIKE"], platforms=[CITY]),
            detail(behaviours=["MOB-EVCHARGE"], platforms=[CAR]),
        ],
    )["access_token"]
    told = shop.get(f"/v1/account/events/{event_id}", narrow).json()
    assert [one["platform"] for one in told["records"]] == [CITY]


# How often: (frequency, when the next look is refused, when one is allowed again), after a look on Friday at 16:00.
TURNS: dict[str, tuple[dict[str, int] | None, dict[str, int] | None]] = {
    "always": (None, {"hours": 2}),
    "daily": ({"hours": 7, "minutes": 59}, {"hours": 8}),
    "weekly": ({"days": 2, "hours": 7, "minutes": 59}, {"days": 2, "hours": 8}),
    "monthly": ({"days": 10, "hours": 7, "minutes": 59}, {"days": 10, "hours": 8}),
    "once": ({"days": 300}, None),
}


@pytest.mark.parametrize("frequency", list(TURNS))
def test_a_recipient_looks_as_often_as_the_person_allowed(town: Hub, shop: Machine, li: int, frequency: str) -> None:
    refused, allowed = TURNS[frequency]
    told = shop.consented(li, authorization_details=[detail(frequency=frequency)])

    def look(**after: int) -> Any:
        shop.move(later(town, **after))
        return shop.get("/v1/account", shop.refresh(told["refresh_token"]).document["access_token"])

    assert look().status_code == 200
    assert look(minutes=59).status_code == 200, "what follows within the hour belongs to the same look"
    if refused is not None:
        before = count(town, "disclosure")
        assert problem(look(**refused)) == (403, "forbidden")
        assert count(town, "disclosure") == before
    if allowed is not None:
        assert look(**allowed).status_code == 200


def test_every_look_is_a_row_and_a_leaf_with_counts_and_never_with_values(town: Hub, shop: Machine, li: int) -> None:
    told = shop.consented(li)
    first = entries(shop, told["access_token"])[0]["event_id"]
    shop.get("/v1/account", told["access_token"])
    shop.get(f"/v1/account/events/{first}", told["access_token"])
    rows = look_up(town, "SELECT what, rows, recipient, grant_id, subject_id FROM disclosure ORDER BY disclosure_id")
    same = (shop.client_id, told["grant_id"], li)
    assert rows == [("entries", 16, *same), ("account", 16, *same), ("event", 1, *same)]
    leaves = look_up(
        town,
        "SELECT l.data FROM log_body l JOIN change_leaf c ON c.leaf_id = l.leaf_id WHERE c.kind = 'disclosure.made'",
    )
    assert len(leaves) == 3
    text = " ".join(bytes(body).decode(errors="replace") for (body,) in leaves)
    assert shop.client_id in text
    assert told["grant_id"] not in text
    assert str(li) not in text


def test_a_refused_request_is_no_look(town: Hub, shop: Machine, li: int) -> None:
    token = shop.consented(li)["access_token"]
    shop.caller.get("/v1/account", headers={"authorization": f"DPoP {token}"})
    shop.get("/v1/account", "at_unknown")
    assert count(town, "disclosure") == {"disclosure": 0}


@pytest.mark.parametrize("act_of", [withdraw_grant, pause_grant])
def test_after_a_withdrawal_the_very_next_request_is_refused(
    town: Hub, shop: Machine, li: int, act_of: Callable[..., Any]
) -> None:
    told = shop.consented(li)
    paths = ["/v1/account", "/v1/account/entries", f"/v1/account/events/{all_events(shop, li)[0][0]}"]
    assert [shop.get(path, told["access_token"]).status_code for path in paths] == [200] * 3
    with writing(town.engine) as session:
        act_of(session, grant_id=told["grant_id"], subject_id=li, now=NOW)
    before = count(town, "disclosure")
    assert [problem(shop.get(path, told["access_token"])) for path in paths] == [(401, "unauthorized")] * 3
    assert count(town, "disclosure") == before


def test_a_token_of_the_client_itself_or_without_the_scope_sees_nobody(shop: Machine, li: int) -> None:
    machine = shop.token("records:write")
    assert problem(shop.get("/v1/account", machine)) == (403, "forbidden")
    told = shop.consented(li, scope="grams:use")
    answer = shop.get("/v1/account", told["access_token"])
    assert problem(answer) == (403, "forbidden")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_two_recipients_know_a_person_by_two_names(town: Hub, shop: Machine, li: int) -> None:
    other = Machine.recipient(town)
    names = {one.get("/v1/account", one.consented(li)["access_token"]).json()["subject"] for one in (shop, other)}
    assert len(names) == 2


CERTIFICATE = b64encode(b"a certificate").decode()


def test_a_token_bound_to_a_certificate_is_good_with_it_where_the_operator_reads_certificates(
    town: Hub, li: int
) -> None:
    header = "client-cert"
    reading = replace(town, settings=town.settings.model_copy(update={"client_certificate_header": header}))
    shop = Machine.recipient(reading, tls_client_certificate_bound_access_tokens=True, dpop_bound_access_tokens=False)
    thumbprint = shop.certificate_headers(header, CERTIFICATE)
    told = shop.redeem(shop.code(li, proofs=()), proofs=())
    assert (told.status, told.document["token_type"]) == (200, "Bearer"), told.document
    bearer = {"authorization": f"Bearer {told.document['access_token']}"}
    statuses = {
        "with it": shop.caller.get("/v1/account", headers=bearer | thumbprint),
        "with another": shop.caller.get("/v1/account", headers=bearer | {header: ":AAAA:"}),
        "with none": shop.caller.get("/v1/account", headers=bearer),
        "with a text": shop.caller.get("/v1/account", headers=bearer | {header: CERTIFICATE}),
        "as a DPoP token": shop.get("/v1/account", told.document["access_token"], headers=thumbprint),
    }
    assert {name: answer.status_code for name, answer in statuses.items()} == {
        "with it": 200, "with another": 401, "with none": 401, "with a text": 401, "as a DPoP token": 401
    }  # fmt: skip
    shop.move(town)
    assert shop.caller.get("/v1/account", headers=bearer | thumbprint).status_code == 401, (
        "nobody vouches for the header"
    )
    assert shop.redeem(shop.code(li, proofs=()), proofs=()).status == 400
