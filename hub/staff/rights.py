"""What each role of staff may do: one closed table. Pure.

A role has the rights of its row and no others; what is not in the table is refused. Rights end at a scope, too: a
platform's staff see their own platform, a regulator's their own jurisdiction, and what is about one person only within a
case.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

NATION = "CN"
REGION = re.compile(r"[1-8][0-9]{5}")  # GB/T 2260: province, city, county, two digits each; 00 is "all of it"


class Role(StrEnum):
    """Whom a member of staff works for."""

    PLATFORM = "platform"
    REGULATOR = "regulator"
    OPERATOR = "operator"


class Right(StrEnum):
    """One thing that staff may do."""

    SEE_OWN = "staff.see_own"
    SEE_OPERATION = "staff.see_operation"
    SEE_STATEMENTS = "staff.see_statements"
    SEE_FIGURES = "staff.see_figures"
    SEE_CASE = "staff.see_case"
    DECIDE_HOLDS = "staff.decide_holds"
    SETTLE_BREAKS = "staff.settle_breaks"
    ADJUST = "staff.adjust"
    OPEN_DISPUTES = "staff.open_disputes"
    DECIDE_DISPUTES = "staff.decide_disputes"
    SEE_LOG = "staff.see_log"


class What(StrEnum):
    """What a member of staff did; the words that stand in the record and in the log."""

    ADDED = "staff.added"
    LINK_MADE = "staff.link_made"
    ENROLLED = "staff.enrolled"
    DISABLED = "staff.disabled"
    SIGNED_IN = "staff.signed_in"
    SIGNED_OUT = "staff.signed_out"
    REFUSED = "staff.refused"
    HOME_SEEN = "staff.home_seen"
    OPERATION_SEEN = "staff.operation_seen"
    HOLD_RELEASED = "staff.hold_released"
    HOLD_REJECTED = "staff.hold_rejected"
    BREAK_PROPOSED = "staff.break_proposed"
    BREAK_SIGNED = "staff.break_signed"
    ADJUSTED = "staff.adjusted"
    DISPUTE_OPENED = "staff.dispute_opened"
    DISPUTE_SEEN = "staff.dispute_seen"
    DISPUTE_EVIDENCE = "staff.dispute_evidence"
    DISPUTE_MOVED = "staff.dispute_moved"
    DISPUTE_DECIDED = "staff.dispute_decided"
    DISPUTE_WITHDRAWN = "staff.dispute_withdrawn"
    CLIENT_BOUND = "staff.client_bound"
    LOG_SEARCHED = "staff.log_searched"
    LOG_PAIRED = "staff.log_paired"
    LOG_EXPORTED = "staff.log_exported"
    LOG_MEASURED = "staff.log_measured"
    PROOF_SEEN = "staff.proof_seen"


class AccessPurpose(StrEnum):
    """What an access was for, as it stands in the log."""

    OWN = "own"
    ADMINISTRATION = "administration"
    OPERATION = "operation"
    SETTLEMENT = "settlement"
    SUPERVISION = "supervision"
    CASE = "case"
    REVIEW = "review"
    ADJUSTMENT = "adjustment"
    DISPUTE = "dispute"
    PERSONS_REQUEST = "persons_request"


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.PLATFORM: frozenset({Right.SEE_OWN, Right.SEE_STATEMENTS}),
    Role.REGULATOR: frozenset({Right.SEE_OWN, Right.SEE_FIGURES, Right.SEE_CASE, Right.OPEN_DISPUTES, Right.SEE_LOG}),
    Role.OPERATOR: frozenset(
        {
            Right.SEE_OWN,
            Right.SEE_OPERATION,
            Right.DECIDE_HOLDS,
            Right.SETTLE_BREAKS,
            Right.ADJUST,
            Right.DECIDE_DISPUTES,
            Right.SEE_LOG,
        }
    ),
}
PURPOSES: dict[Right, AccessPurpose] = {
    Right.SEE_OWN: AccessPurpose.OWN,
    Right.SEE_OPERATION: AccessPurpose.OPERATION,
    Right.SEE_STATEMENTS: AccessPurpose.SETTLEMENT,
    Right.SEE_FIGURES: AccessPurpose.SUPERVISION,
    Right.SEE_CASE: AccessPurpose.CASE,
    Right.DECIDE_HOLDS: AccessPurpose.REVIEW,
    Right.SETTLE_BREAKS: AccessPurpose.SETTLEMENT,
    Right.ADJUST: AccessPurpose.ADJUSTMENT,
    Right.OPEN_DISPUTES: AccessPurpose.CASE,
    Right.DECIDE_DISPUTES: AccessPurpose.DISPUTE,
    Right.SEE_LOG: AccessPurpose.SUPERVISION,
}
# What may be done within an open case only: the right alone opens nothing.
NEEDS_CASE = frozenset({Right.SEE_CASE, Right.OPEN_DISPUTES})
# What belongs to one platform or one region: the act has to say which.
NEEDS_PARTICIPANT = frozenset({Right.SEE_STATEMENTS})
NEEDS_REGION = frozenset({Right.SEE_FIGURES, Right.SEE_CASE, Right.OPEN_DISPUTES})


class Refusal(StrEnum):
    """Why staff may not."""

    NOT_SIGNED_IN = "not_signed_in"
    NO_RIGHT = "no_right"
    OUT_OF_SCOPE = "out_of_scope"
    NO_CASE = "no_case"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an act reaches: one platform, one region, one case, as far as it is about such a thing."""

    participant: str | None = None
    region: str | None = None
    case_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of staff, as far as rights go."""

    staff_id: str
    name: str
    role: Role
    participant_id: str | None
    jurisdiction: str | None


NO_SCOPE = Scope()


def find_refusal(member: Member, right: Right, scope: Scope) -> Refusal | None:
    """Return why a member may not do something, or None if they may."""
    if right not in RIGHTS[member.role]:
        return Refusal.NO_RIGHT
    if right in NEEDS_PARTICIPANT and (scope.participant is None or scope.participant != member.participant_id):
        return Refusal.OUT_OF_SCOPE
    if right in NEEDS_REGION and not covers(member.jurisdiction, scope.region):
        return Refusal.OUT_OF_SCOPE
    if right in NEEDS_CASE and not scope.case_id:
        return Refusal.NO_CASE
    return None


def is_jurisdiction(code: str) -> bool:
    """Whether a code names a region of GB/T 2260 by its form, or the whole nation."""
    return code == NATION or REGION.fullmatch(code) is not None


def covers(jurisdiction: str | None, region: str | None) -> bool:
    """Whether a region lies in a jurisdiction; what names no region lies in none.

    Example:
        >>> covers("CN", "440305"), covers("440000", "440305"), covers("440300", "440305"), covers("440305", "440305")
        (True, True, True, True)
        >>> covers("440300", "440100"), covers("440305", "440300"), covers("440000", "CN"), covers("CN", None)
        (False, False, False, False)
    """
    if jurisdiction is None or region is None or not is_jurisdiction(region):
        return False
    if jurisdiction == NATION:
        return True
    kept = 2 if jurisdiction.endswith("0000") else 4 if jurisdiction.endswith("00") else 6
    return region[:kept] == jurisdiction[:kept]
