"""Blocks in the words of the Climate Action Data Trust data model, version 1 or 2. Pure.

Neighbouring blocks of one issuance that stand alike are one row of units: a unit is a tonne, and has one serial. The words
are those of the picklists of Chia-Network/cadt: src/models/governance/governance.stub.js (version 1, commit 45cf95e) and
governance-v2-real-picklists.js (version 2, commit 29899ce). What the hub does not know it leaves empty: who verified, which
project, whether the host country adjusts.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from itertools import groupby
from typing import Any
from uuid import NAMESPACE_URL, uuid5

UNIT_TYPE = "Reduction - technical"
METRIC = "tCO2e"
COUNTRY = "China"


class Model(IntEnum):
    """Version of the data model."""

    ONE = 1
    TWO = 2


# Whoever reads it must not take for free what is set aside: version 1 has no word for frozen, and "pending export" is the one
# that says that another registry is about to have it; version 2 calls it inactive.
STATUS: Mapping[Model, Mapping[str, str]] = {
    Model.ONE: {"held": "Held", "frozen": "Pending Export", "pending_offset": "Pending Export", "retired": "Retired"},
    Model.TWO: {"held": "Held", "frozen": "Inactive", "pending_offset": "Inactive", "retired": "Retired"},
}
_PURPOSES = {
    "quota_offset": "offset of an emission quota", "neutrality": "neutrality of an enterprise or event",
    "voluntary": "voluntary retirement", "compensation": "compensation for ecological damage",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """What one run pooled of one year."""

    issuance_id: int
    participant: str
    created_on: date
    first_vintage: int
    last_vintage: int
    methodologies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block as it stands; `serial` counts in its market, `written` is the whole serial."""

    issuance_id: int
    participant: str
    owner: str
    serial: int
    written: str
    vintage_year: int
    state: str
    purpose: str | None
    beneficiary: str | None
    reference: str | None
    changed_on: date


def issuance_row(one: Issuance, issuer: str, model: Model) -> dict[str, Any]:
    """Return an issuance in the model's words."""
    name = _uuid(issuer, f"issuances/{one.issuance_id}")
    if model is Model.TWO:
        return {
            "cadTrustIssuanceId": name, "issuanceId": f"{one.participant}:{one.issuance_id}",
            "issuanceDate": one.created_on.isoformat(), "cadTrustVerificationId": None, "cadTrustMethodologyId": None,
        }  # fmt: skip
    return {
        "id": name, "startDate": _day(one.first_vintage), "endDate": _day(one.last_vintage),
        "verificationApproach": "interconnection log; methodology " + ", ".join(one.methodologies),
        "verificationReportDate": one.created_on.isoformat(), "verificationBody": None,
    }  # fmt: skip


def unit_rows(blocks: Sequence[Block], issuer: str, model: Model) -> Iterator[dict[str, Any]]:
    """Yield rows of units in the model's words.

    Args:
        blocks: by participant and serial.
        issuer: the hub's address.
    """
    for _, run in groupby(enumerate(blocks), key=lambda at: (_alike(at[1]), at[1].serial - at[0])):
        alike = [block for _, block in run]
        yield _unit_two(alike, issuer) if model is Model.TWO else _unit_one(alike, issuer)


def format_all(told: Mapping[str, Any]) -> str:
    """Return issuances and units as a JSON document."""
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


def format_units(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of units as CSV with a line of names; what is not known is empty."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _alike(block: Block) -> tuple[Any, ...]:
    return (
        block.participant, block.issuance_id, block.state, block.purpose or "", block.beneficiary or "",
        block.reference or "", block.changed_on,
    )  # fmt: skip


def _unit_one(alike: Sequence[Block], issuer: str) -> dict[str, Any]:
    first, last = alike[0], alike[-1]
    return {
        "warehouseUnitId": _unit_id(alike, issuer), "issuanceId": _uuid(issuer, f"issuances/{first.issuance_id}"),
        "projectLocationId": None, "unitOwner": first.owner, "countryJurisdictionOfOwner": COUNTRY,
        "inCountryJurisdictionOfOwner": None, "unitBlockStart": first.written, "unitBlockEnd": last.written,
        "unitCount": len(alike), "vintageYear": first.vintage_year, "unitType": UNIT_TYPE, "marketplace": first.owner,
        "marketplaceLink": None, "marketplaceIdentifier": first.participant, "unitTags": None,
        "unitStatus": STATUS[Model.ONE][first.state], "unitStatusReason": _reason(first),
        "unitRegistryLink": f"{issuer}/v1/blocks", "correspondingAdjustmentDeclaration": "Unknown",
        "correspondingAdjustmentStatus": "Not Started",
    }  # fmt: skip


def _unit_two(alike: Sequence[Block], issuer: str) -> dict[str, Any]:
    first, last = alike[0], alike[-1]
    is_retired = first.state == "retired"
    return {
        "cadTrustUnitId": _unit_id(alike, issuer), "unitSerialId": f"{first.written}/{last.written}",
        "unitStartBlock": first.written, "unitEndBlock": last.written, "unitCount": len(alike), "unitType": UNIT_TYPE,
        "unitVintageYear": first.vintage_year, "unitStatus": STATUS[Model.TWO][first.state],
        "unitStatusReason": _reason(first), "unitStatusDate": first.changed_on.isoformat(),
        "unitRetirementDetail": _PURPOSES[first.purpose or ""] if is_retired else None,
        "unitRetirementBeneficiary": first.beneficiary, "unitLink": f"{issuer}/v1/blocks", "unitMetric": METRIC,
        "unitCurrentOwner": first.owner, "cadTrustIssuanceId": _uuid(issuer, f"issuances/{first.issuance_id}"),
    }  # fmt: skip


def _reason(block: Block) -> str | None:
    """Say why units have a status where another than "held"; version 1 has no other place for whom they were retired."""
    if block.purpose is None:
        return None
    for_whom = f", for {block.beneficiary}" if block.beneficiary else ""
    where = f"; registry number {block.reference}" if block.reference else ""
    return f"{block.state.replace('_', ' ')}: {_PURPOSES[block.purpose]}{for_whom}{where}"


def _unit_id(alike: Sequence[Block], issuer: str) -> str:
    return _uuid(issuer, f"units/{alike[0].written}/{alike[-1].written}")


def _uuid(issuer: str, name: str) -> str:
    """Return a name of 128 bits that stays the same in every export."""
    return str(uuid5(NAMESPACE_URL, f"{issuer}/{name}"))


def _day(vintage: int) -> str:
    return date(vintage // 10_000, vintage // 100 % 100, vintage % 100).isoformat()
