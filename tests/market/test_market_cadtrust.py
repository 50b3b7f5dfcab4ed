"""Exports speak the words of the Climate Action Data Trust.

Source of the picklists and of what each field must be: github.com/Chia-Network/cadt. Version 1:
src/models/governance/governance.stub.js at 45cf95e364b15cd4a84e9fc8331f34c84ffec1e5, src/validations/units.validations.js at
00d68bff84a0e548102d11a4a99fbb6550bd316e. Version 2: src/models/governance/governance-v2-real-picklists.js at
29899cefb22a95861f9eef9282313983b7d9c980, and the schema `unitV2Schema`.
"""

from typing import Any
from uuid import UUID

import pytest
from tests_support.marketing import MARKET, NOW, Market, pool_all

from hub.context import Hub
from hub.db import reading, writing
from hub.market import blocks
from hub.market.cadtrust import STATUS, Model
from hub.market.export import load_cadtrust
from hub.uses.reservations import PURPOSES

UNIT_TYPE = {
    1: {"Reduction - nature", "Reduction - technical", "Removal - nature", "Removal - technical"},
    2: {
        "Avoidance - nature", "Avoidance - technical", "Reduction - nature", "Reduction - technical", "Removal - nature",
        "Removal - technical", "Not Determined",
    },
}  # fmt: skip
UNIT_STATUS = {
    1: {"Held", "Retired", "Cancelled", "Expired", "Buffer", "Exported", "Pending Export"},
    2: {"Issued", "Held", "Retired", "Cancelled", "Expired", "Buffer", "Inactive", "Rejected"},
}
UNIT_METRIC = {"tCO2e", "gCO2eq/kWh", "kt (Kiloton)"}
DECLARATION = {"Committed", "Not Required", "Unknown"}
ADJUSTMENT = {"Not Started", "Pending", "Completed"}
# Of version 1, every member that the schema knows (warehouseUnitId and issuanceId are of the table), and those it requires.
KNOWN_1 = {
    "warehouseUnitId", "issuanceId", "projectLocationId", "unitOwner", "countryJurisdictionOfOwner",
    "inCountryJurisdictionOfOwner", "unitBlockStart", "unitBlockEnd", "unitCount", "vintageYear", "unitType", "marketplace",
    "marketplaceLink", "marketplaceIdentifier", "unitTags", "unitStatus", "unitStatusReason", "unitRegistryLink",
    "correspondingAdjustmentDeclaration", "correspondingAdjustmentStatus",
}  # fmt: skip
REQUIRED_1 = {
    "countryJurisdictionOfOwner", "unitBlockStart", "unitBlockEnd", "unitCount", "vintageYear", "unitType", "unitStatus",
    "unitRegistryLink", "correspondingAdjustmentDeclaration", "correspondingAdjustmentStatus",
}  # fmt: skip
KNOWN_2 = {
    "cadTrustUnitId", "unitSerialId", "unitStartBlock", "unitEndBlock", "unitCount", "unitType", "unitVintageYear",
    "unitStatus", "unitStatusReason", "unitStatusDate", "unitRetirementDetail", "unitRetirementBeneficiary",
    "unitRetirementBeneficiaryId", "unitLink", "unitMetric", "unitCurrentOwner", "unitItmosReferenceId",
    "cadTrustIssuanceId",
}  # fmt: skip
REQUIRED_2 = {"unitSerialId", "unitStartBlock", "unitEndBlock", "unitVintageYear", "cadTrustIssuanceId"}


@pytest.fixture
def told(hub: Hub, market: Market) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Two blocks, of which the first is retired, in both versions."""
    first, _ = pool_all(hub, market).blocks
    with writing(hub.engine) as session:
        blocks.freeze(session, [first.block_id], purpose="quota_offset", now=NOW)
        blocks.mark_pending(session, [first.block_id], reference="SHEA-1", now=NOW)
        blocks.retire(session, [first.block_id], beneficiary="某钢铁厂", now=NOW)
    return {model: exported(hub, model) for model in (1, 2)}


def exported(hub: Hub, model: int) -> dict[str, list[dict[str, Any]]]:
    with reading(hub.engine) as session:
        return load_cadtrust(session, hub.settings.issuer, Model(model))


def test_units_of_version_1_fit_schema_and_picklists(told: dict[int, dict[str, list[dict[str, Any]]]]) -> None:
    assert [unit["unitStatus"] for unit in told[1]["units"]] == ["Retired", "Held"]
    for unit in told[1]["units"]:
        assert set(unit) == KNOWN_1
        assert all(unit[name] not in (None, "") for name in REQUIRED_1)
        assert unit["unitType"] in UNIT_TYPE[1]
        assert unit["unitStatus"] in UNIT_STATUS[1]
        assert unit["correspondingAdjustmentDeclaration"] in DECLARATION
        assert unit["correspondingAdjustmentStatus"] in ADJUSTMENT
        assert isinstance(unit["unitCount"], int)
        assert 1900 <= unit["vintageYear"] <= 3000
    retired, held = told[1]["units"]
    # The schema asks for a reason where units are retired or cancelled.
    assert retired["unitStatusReason"] == ("retired: offset of an emission quota, for 某钢铁厂; registry number SHEA-1")
    assert held["unitStatusReason"] is None
    assert (held["unitBlockStart"], held["unitBlockEnd"]) == (f"{MARKET}-2026-000000002",) * 2
    assert held["unitOwner"] == "Shanghai market"


def test_units_of_version_2_fit_schema_and_picklists(told: dict[int, dict[str, list[dict[str, Any]]]]) -> None:
    for unit in told[2]["units"]:
        assert set(unit) <= KNOWN_2
        assert all(unit[name] not in (None, "") for name in REQUIRED_2)
        assert unit["unitType"] in UNIT_TYPE[2]
        assert unit["unitStatus"] in UNIT_STATUS[2]
        assert unit["unitMetric"] in UNIT_METRIC
        UUID(unit["cadTrustIssuanceId"])
    retired, held = told[2]["units"]
    assert (retired["unitStatus"], retired["unitRetirementBeneficiary"], retired["unitStatusDate"]) == (
        "Retired", "某钢铁厂", "2026-11-20",
    )  # fmt: skip
    assert retired["unitRetirementDetail"] == "offset of an emission quota"
    assert (held["unitStatus"], held["unitRetirementBeneficiary"], held["unitRetirementDetail"]) == ("Held", None, None)


def test_units_name_their_issuance(told: dict[int, dict[str, list[dict[str, Any]]]]) -> None:
    (one,), (two,) = told[1]["issuances"], told[2]["issuances"]
    assert {unit["issuanceId"] for unit in told[1]["units"]} == {one["id"]}
    assert {unit["cadTrustIssuanceId"] for unit in told[2]["units"]} == {two["cadTrustIssuanceId"]} == {one["id"]}
    assert (one["startDate"], one["endDate"], one["verificationReportDate"]) == (
        "2026-11-14",
        "2026-11-17",
        "2026-11-20",
    )
    assert one["verificationApproach"] == "interconnection log; methodology hub-2026.2"
    assert one["verificationBody"] is None  # nobody but the hub has verified it, and the hub is none


def test_neighbours_that_stand_alike_are_one_row_and_its_name_stays(hub: Hub, market: Market) -> None:
    made = [block.block_id for block in pool_all(hub, market).blocks]
    (whole,) = exported(hub, 1)["units"]
    assert (whole["unitCount"], whole["unitBlockStart"], whole["unitBlockEnd"]) == (
        2, f"{MARKET}-2026-000000001", f"{MARKET}-2026-000000002",
    )  # fmt: skip
    assert exported(hub, 1)["units"] == [whole]
    with writing(hub.engine) as session:
        blocks.freeze(session, made[:1], purpose="voluntary", now=NOW)
    parts = exported(hub, 1)["units"]
    assert [(part["unitCount"], part["unitStatus"]) for part in parts] == [(1, "Pending Export"), (1, "Held")]
    assert parts[0]["unitStatusReason"] == "frozen: voluntary retirement"
    assert len({part["warehouseUnitId"] for part in [whole, *parts]}) == 3
    assert [part["unitStatus"] for part in exported(hub, 2)["units"]] == ["Inactive", "Held"]


def test_every_state_and_purpose_has_its_word(hub: Hub, market: Market) -> None:
    for model in Model:
        assert set(STATUS[model]) == set(blocks.State)
        assert set(STATUS[model].values()) <= UNIT_STATUS[model]
    first, _ = pool_all(hub, market).blocks
    reasons = set()
    for purpose in sorted(PURPOSES):
        with writing(hub.engine) as session:
            blocks.freeze(session, [first.block_id], purpose=purpose, now=NOW)
        reasons.add(exported(hub, 1)["units"][0]["unitStatusReason"])
        with writing(hub.engine) as session:
            blocks.release(session, [first.block_id], now=NOW)
    assert len(reasons) == len(PURPOSES)
