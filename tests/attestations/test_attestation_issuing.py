"""What an attestation says, for whom, under which consent, how often; and that its log and its person know of it."""

import io
import json
import zipfile
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from tests_support.attesting import (
    BIKE_MG,
    CITY,
    NOW,
    Recipient,
    jwks_of,
    list_of,
    own,
    payload_of,
    sql,
)
from tests_support.oauth import EC, TYPE
from tests_support.rfc9901 import check_sd_jwt, status_bit
from tests_support.web import Caller, count, look_up

from consent.pairwise import pairwise_subject
from hub.attestations.content import MOST_A_DAY, Asked
from hub.attestations.issue import TooMany, issue_own
from hub.audit import audit, format_report
from hub.context import Hub
from hub.errors import NotFound, UsageProblem
from hub.rights.export import export_person

LEAVES = (
    "SELECT b.data FROM log_body b JOIN log_leaf l ON l.leaf_id = b.leaf_id WHERE l.kind = :kind ORDER BY l.leaf_id"
)


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def charged_mg(hub: Hub) -> int:
    return int(look_up(hub, "SELECT mg FROM event WHERE behaviour = 'MOB-EVCHARGE'")[0][0])


def test_it_says_what_is_cleared_and_what_of_it_is_final_and_an_independent_reader_agrees(hub: Hub, li: int) -> None:
    name, statement = own(hub, li)
    claims = check_sd_jwt(statement, jwks_of(hub)["jwks"])
    charge = charged_mg(hub)
    assert charge > 0
    assert (claims["cleared_mg"], claims["final_mg"]) == (3 * BIKE_MG + charge, 2 * BIKE_MG + charge)
    assert (claims["acts"], claims["platforms_count"]) == (4, 2)
    assert claims["by_category_mg"] == {
        "clothing": 0, "finance": 0, "food": 0, "housing": 0, "office": 0, "travel": 3 * BIKE_MG + charge, "use": 0,
    }  # fmt: skip
    assert claims["by_region_mg"]["440000"] == BIKE_MG
    assert sum(claims["by_region_mg"].values()) == claims["cleared_mg"]
    assert claims["methodologies"] == [hub.settings.methodology]
    assert len(claims["policies"]) == 1
    assert (claims["iss"], claims["jti"], claims["scope"]) == (hub.settings.issuer, name, "account")
    assert (claims["from"], claims["until"]) == ("2026-11-01", "2026-11-20")
    assert claims["exp"] - claims["iat"] == 365 * 86_400
    assert status_bit(list_of(hub), jwks_of(hub)["jwks"], claims["status"]) == 0
    report = audit(hub)
    assert report.holds, format_report(report)


@pytest.mark.parametrize(
    ("since", "until", "acts"),
    [((2026, 11, 15), (2026, 11, 15), 1), ((2026, 11, 16), (2026, 11, 17), 2), ((2026, 11, 15), (2026, 11, 18), 4)],
)
def test_both_ends_of_the_period_are_days_in_china_and_included(
    hub: Hub, li: int, since: tuple[int, int, int], until: tuple[int, int, int], acts: int
) -> None:
    _, statement = own(hub, li, since=date(*since), until=date(*until))
    assert check_sd_jwt(statement, jwks_of(hub)["jwks"])["acts"] == acts


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"since": date(2026, 11, 2), "until": date(2026, 11, 1)}, "the period is empty"),
        ({"until": date(2026, 11, 21)}, "ends in the future: until can be 2026-11-20"),
        ({"since": date(2019, 11, 1)}, "the period is too long"),
        ({"since": date(2026, 11, 1), "until": date(2026, 11, 14)}, "nothing that may be told was cleared"),
        ({"since": date(2026, 11, 19)}, "nothing that may be told was cleared"),  # provisional only
        ({"disclose": ()}, "at least one claim"),
        ({"disclose": ("acts", "acts")}, "none of them twice"),
        ({"disclose": ("name",)}, "disclose can name"),
        ({"disclose": ("by_category_mg.gold",)}, "disclose can name"),
        ({"disclose": ("by_region_mg.310000",)}, "nothing was cleared for by_region_mg.310000"),
    ],
)  # fmt: skip
def test_what_cannot_be_attested_is_said_and_leaves_nothing(
    hub: Hub, li: int, asked: dict[str, Any], says: str
) -> None:
    before = count(hub, "attestation", "status_list", "log_leaf")
    with pytest.raises(UsageProblem, match=says):
        own(hub, li, **asked)
    assert count(hub, "attestation", "status_list", "log_leaf") == before


def test_only_what_was_asked_for_is_disclosed_and_the_rest_is_hidden(hub: Hub, li: int) -> None:
    _, statement = own(hub, li, "final_mg", "by_category_mg.travel")
    claims = check_sd_jwt(statement, jwks_of(hub)["jwks"])
    assert set(claims["by_category_mg"]) == {"travel"}
    assert claims["by_region_mg"] == {}
    assert "final_mg" in claims
    assert "cleared_mg" not in claims
    assert statement.count("~") == 3


def test_the_number_of_regions_is_hidden_among_decoys(hub: Hub, li: int) -> None:
    _, statement = own(hub, li, "acts")
    payload = payload_of(statement)
    assert len(payload["by_region_mg"]["_sd"]) == 8
    assert len(payload["by_category_mg"]["_sd"]) == 7
    assert payload["_sd"] == sorted(payload["_sd"])


def test_two_attestations_of_one_person_for_themself_have_nothing_in_common(hub: Hub, li: int) -> None:
    one, other = (payload_of(own(hub, li)[1]) for _ in range(2))
    assert one["sub"] != other["sub"]
    assert not set(one["_sd"]) & set(other["_sd"])
    assert one["status"]["status_list"]["idx"] != other["status"]["status_list"]["idx"]


def test_a_recipient_gets_one_under_the_name_that_it_knows_and_for_itself_alone(
    hub: Hub, li: int, bank: Recipient
) -> None:
    answer = bank.ask(disclose=["final_mg"])
    assert answer.status_code == 201, answer.text
    told = answer.json()
    claims = check_sd_jwt(told["attestation"], jwks_of(hub)["jwks"])
    assert claims["sub"] == told["subject"] == pairwise_subject(hub.ring, bank.client_id, li)
    assert (claims["aud"], claims["scope"]) == (bank.client_id, "consent")
    assert claims["final_mg"] == 2 * BIKE_MG + charged_mg(hub)
    seen = bank.see(f"/{told['attestation_id']}").json()
    assert seen == {name: value for name, value in told.items() if name != "attestation"}
    assert bank.see().json() == {"attestations": [seen]}
    assert look_up(hub, "SELECT what, rows, recipient FROM disclosure") == [("attestation", 4, bank.client_id)]
    assert audit(hub).holds


@pytest.mark.parametrize(
    ("detail", "mg"),
    [
        ({"behaviours": ["MOB-BIKE"]}, 3 * BIKE_MG),
        ({"platforms": [CITY], "from": "2026-11-16"}, 2 * BIKE_MG),
        ({"behaviours": ["MOB-EVCHARGE"], "platforms": [CITY]}, None),
    ],
)
def test_a_recipient_never_gets_more_than_the_consent_allows(
    hub: Hub, li: int, detail: dict[str, Any], mg: int | None
) -> None:
    shop = Recipient.of(hub, li, authorization_details=[{"type": TYPE, "actions": ["read"], "until": "2026-12-31", **detail}]
    )  # fmt: skip
    answer = shop.ask()
    if mg is None:
        assert problem(answer) == (422, "usage_problem")
        assert count(hub, "attestation") == {"attestation": 0}
    else:
        assert check_sd_jwt(answer.json()["attestation"], jwks_of(hub)["jwks"])["cleared_mg"] == mg


def test_it_is_over_no_later_than_the_consent(hub: Hub, li: int) -> None:
    shop = Recipient.of(
        hub, li, authorization_details=[{"type": TYPE, "actions": ["read"], "until": "2026-12-01"}]
    )  # fmt: skip
    payload = payload_of(shop.ask().json()["attestation"])
    assert payload["exp"] <= (NOW + timedelta(days=12)).timestamp()


def test_the_person_allowed_one_look_and_an_attestation_is_a_look(hub: Hub, li: int) -> None:
    shop = Recipient.of(
        hub, li, authorization_details=[{"type": TYPE, "actions": ["read"], "frequency": "once"}]
    )  # fmt: skip
    assert shop.ask().status_code == 201
    assert problem(shop.later(hub, hours=2).ask()) == (403, "forbidden")


def test_the_same_request_again_gets_the_same_statement_and_another_under_its_key_a_conflict(
    hub: Hub, li: int, bank: Recipient
) -> None:
    first, second = bank.ask(key="once"), bank.ask(key="once")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert problem(bank.ask(key="once", until="2026-11-19")) == (409, "conflict")
    assert count(hub, "attestation", "disclosure") == {"attestation": 1, "disclosure": 1}
    other = bank.machine.send_json("/v1/attestations", {}, token=bank.token)
    assert problem(other) == (422, "usage_problem")


def test_there_are_so_many_a_day_and_no_more(hub: Hub, li: int, bank: Recipient) -> None:
    for _ in range(MOST_A_DAY):
        own(hub, li, "acts")
    with pytest.raises(TooMany):
        own(hub, li, "acts")
    assert bank.ask().status_code == 201  # another recipient's are counted by themselves
    later = replace(hub, clock=lambda: NOW + timedelta(hours=8))  # midnight in China
    own(later, li, "acts", now=later.clock())
    sql(hub, "UPDATE attestation SET recipient = :c, request_key = attestation_id", c=bank.client_id)
    assert problem(bank.ask()) == (429, "too_many_requests")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"from": "2026-13-01"}, "from must be a day"),
        ({"from": "2026-W10-1"}, "from must be a day"),
        ({"from": 20261101}, "from"),
        ({"disclose": "acts"}, "disclose"),
        ({"disclose": []}, "disclose"),
        ({"more": 1}, "more"),
        ({"cnf": {"jwk": {"kty": "oct", "k": "AA"}}}, "cnf.jwk"),
        ({"cnf": {"jwk": EC.as_dict(private=True)}}, "the private half"),
        ({"cnf": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}}, "cnf.jwk"),
        ({"cnf": {"kid": "x"}}, "cnf"),
    ],
)
def test_a_request_that_is_not_of_the_agreed_form_is_refused(
    hub: Hub, bank: Recipient, changed: dict[str, Any], says: str
) -> None:
    answer = bank.ask(**changed)
    assert problem(answer) == (422, "usage_problem")
    assert says in answer.json()["title"]


def test_without_a_person_s_token_there_is_no_attestation(hub: Hub, li: int, bank: Recipient) -> None:
    body = {"from": "2026-11-01", "until": "2026-11-20", "disclose": ["acts"]}
    assert Caller(hub).post("/v1/attestations", json=body).status_code == 401
    machine_token = bank.machine.token("records:write")
    answer = bank.machine.send_json("/v1/attestations", body, token=machine_token, headers={"idempotency-key": "k"})
    assert answer.status_code == 403


def test_each_attestation_and_each_revocation_is_a_leaf_that_says_nothing_of_anybody(
    hub: Hub, li: int, bank: Recipient
) -> None:
    name, statement = own(hub, li)
    bank.ask()
    leaves = [json.loads(bytes(data)[2:]) for (data,) in look_up(hub, LEAVES, kind="attestation.issued")]
    assert [set(leaf) for leaf in leaves] == [{"v", "kind", "at", "attestation", "statement"}] * 2
    told = json.dumps(leaves)
    assert all(word not in told for word in (name, str(li), bank.client_id, str(payload_of(statement)["sub"])))


def test_a_holder_s_key_is_bound_without_whatever_else_came_with_it(hub: Hub, bank: Recipient) -> None:
    jwk = EC.as_dict(private=False) | {"use": "sig", "note": "mine"}
    payload = payload_of(bank.ask(cnf={"jwk": jwk}).json()["attestation"])
    assert set(payload["cnf"]["jwk"]) == {"kty", "crv", "x", "y"}


def test_the_person_s_copy_of_everything_has_their_attestations_with_all_that_they_say(
    hub: Hub, li: int, bank: Recipient
) -> None:
    name, _ = own(hub, li, "acts")
    bank.ask()
    target = io.BytesIO()
    export_person(hub, li, target)
    with zipfile.ZipFile(target) as archive:
        account = json.loads(archive.read("account.json"))
        assert "csv/attestations.csv" in archive.namelist()
    one, other = sorted(account["attestations"], key=lambda row: row["recipient"] != "self")
    assert (one["attestation_id"], one["disclosed"], one["state"]) == (name, ["acts"], "valid")
    assert one["claims"]["cleared_mg"] > 0
    assert other["recipient"] == bank.client_id


def test_nobody_gets_one_of_a_person_who_is_not_there(hub: Hub, li: int) -> None:
    with pytest.raises(NotFound):
        issue_own(hub, 1, Asked(since=date(2026, 11, 1), until=date(2026, 11, 20), disclose=("acts",)), now=NOW)


def test_what_is_kept_is_sealed(hub: Hub, li: int) -> None:
    own(hub, li)
    ((kept,),) = look_up(hub, "SELECT statement_sealed FROM attestation")
    assert b"eyJ" not in bytes(kept)
