"""Programmes: named things that participants run, with what they take. I/O: the database, in the caller's transaction.

What a programme takes (period, places, behaviours, own reports) is fixed once it is there, because people joined that and
nothing else; only its name may change, and it may be closed early.
"""

import json
import re
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from connectors.strict_json import MalformedJsonError, parse_object
from hub.changes import log_change
from hub.db import lock
from hub.errors import Conflict, NotFound, UsageProblem
from hub.log.leaves import Kind
from hub.participants import ID, Status, require_participant
from hub.sync.tables import Participant
from hub.totals.folding import rounded
from hub.totals.tables import Programme, ProgrammeMembership
from hub.totals.telling import LOCK, ZONE, last_release
from standards.behaviours import accepted_behaviours
from standards.canonical import canonical_bytes
from standards.regions import RegionError, check_region

DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


class ProgrammeDocument(BaseModel):
    """The file that adds a programme."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = Field(pattern=f"^{ID}$")
    participant: str = Field(pattern=f"^{ID}$", description="who runs it, and alone sees its totals")
    kind: Literal["employer", "event"]
    name_zh: str = Field(min_length=1, max_length=60)
    name_en: str = Field(min_length=1, max_length=60)
    since: str = Field(pattern=DAY, description="first day of acts that it takes")
    until: str = Field(pattern=DAY, description="last day, included")
    regions: list[int] = Field(default=[], max_length=400, description="provinces and cities; empty: everywhere")
    behaviours: list[str] = Field(default=[], max_length=100, description="empty: all")
    own_file: bool = Field(
        default=False, description="of an event: acts that the participant reported itself are taken"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if date.fromisoformat(self.since) > date.fromisoformat(self.until):
            raise ValueError("the last day comes before the first")
        if self.own_file and self.kind != "event":
            raise ValueError("own_file is for events: an employer's people join by themselves")
        for code in self.behaviours:
            if code not in accepted_behaviours():
                raise ValueError(f"there is no behaviour {code!r}")
        for region in self.regions:
            try:
                check_region(region)
            except RegionError as cause:
                raise ValueError(f"{region} is not a GB/T 2260 code") from cause
            if region % 100:
                raise ValueError(f"{region} is a county; a programme takes provinces and cities")
        return self

    def rules(self) -> dict[str, Any]:
        """Return what never changes."""
        return {
            "id": self.id, "participant": self.participant, "kind": self.kind, "since": self.since, "until": self.until,
            "regions": sorted(set(self.regions)), "behaviours": sorted(set(self.behaviours)), "own_file": self.own_file,
        }  # fmt: skip


def parse_programme(text: bytes) -> ProgrammeDocument:
    """Parse and check a programme's file; raises UsageProblem with every field that is wrong, in one line."""
    try:
        return ProgrammeDocument.model_validate(parse_object(text))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the programme file is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in cause.errors())
        raise UsageProblem(f"the programme file is not valid: {wrong}") from None


def add_programme(session: Session, document: ProgrammeDocument, now: datetime) -> bool:
    """Add a programme, or give it another name; returns whether anything changed.

    Raises:
        NotFound: there is no such participant.
        Conflict: it is there and takes something else.
    """
    require_participant(session, document.participant)
    rules = document.rules()
    digest = sha256(canonical_bytes(rules)).digest()
    row = session.get(Programme, document.id)
    if row is None:
        row = Programme(
            programme_id=document.id, participant_id=document.participant, kind=document.kind,
            name_zh=document.name_zh, name_en=document.name_en, since=date.fromisoformat(document.since),
            until=date.fromisoformat(document.until), regions=json.dumps(rules["regions"]),
            behaviours=json.dumps(rules["behaviours"]), own_file=document.own_file, rules_digest=digest, created_at=now,
        )  # fmt: skip
        session.add(row)
        what = "added"
    elif row.rules_digest != digest:
        raise Conflict(
            f"programme {document.id} takes something else, and people may have joined that; add another programme"
        )
    elif (row.name_zh, row.name_en) == (document.name_zh, document.name_en):
        return False
    else:
        row.name_zh, row.name_en, what = document.name_zh, document.name_en, "renamed"
    session.flush()
    _log(session, row, what, now)
    return True


def close_programme(session: Session, programme_id: str, now: datetime) -> bool:
    """End a programme early: nobody joins any more, later totals have nothing of it; returns whether anything changed."""
    lock(session, LOCK)
    row = require_programme(session, programme_id)
    if row.closed_at is not None:
        return False
    row.closed_at, row.closed_after = now, last_release(session)
    session.flush()
    _log(session, row, "closed", now)
    return True


def require_programme(session: Session, programme_id: str) -> Programme:
    """Load a programme; raises NotFound."""
    row = session.get(Programme, programme_id) if re.fullmatch(ID, programme_id) else None
    if row is None:
        raise NotFound(f"there is no programme {programme_id!r}")
    return row


def load_programmes(session: Session, *, participant: str | None = None) -> list[Programme]:
    """Return all programmes by id, or those of one participant."""
    wanted = select(Programme).order_by(col(Programme.programme_id))
    if participant is not None:
        wanted = wanted.where(col(Programme.participant_id) == participant)
    return list(session.execute(wanted).scalars())


def is_open(session: Session, programme: Programme, now: datetime) -> bool:
    """Say whether people may join now: it is not closed, not over, and who runs it is not suspended."""
    runner = session.get(Participant, programme.participant_id)
    today = now.astimezone(ZONE).date()
    active = runner is not None and runner.status == Status.ACTIVE
    return programme.closed_at is None and today <= programme.until and active


def count_members(session: Session, programme_id: str, *, k: int, now: datetime) -> tuple[int, datetime]:
    """Count who had joined when the month began, rounded down to a multiple of k; returns also that moment.

    As of a fixed moment and rounded, so that asking before and after somebody leaves says nothing about them.
    """
    begin = now.astimezone(ZONE).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    then = select(func.count()).where(
        col(ProgrammeMembership.programme_id) == programme_id,
        col(ProgrammeMembership.joined_at) < begin,
        col(ProgrammeMembership.left_at).is_(None) | (col(ProgrammeMembership.left_at) >= begin),
    )
    return rounded(int(session.execute(then.select_from(ProgrammeMembership)).scalar_one()), k), begin


def describe(session: Session, programme: Programme, now: datetime) -> dict[str, Any]:
    """Return a programme as it is shown to anybody."""
    return {
        "id": programme.programme_id, "participant": programme.participant_id, "kind": programme.kind,
        "name_zh": programme.name_zh, "name_en": programme.name_en, "since": programme.since.isoformat(),
        "until": programme.until.isoformat(), "regions": json.loads(programme.regions),
        "behaviours": json.loads(programme.behaviours), "own_file": programme.own_file,
        "rules_digest": programme.rules_digest.hex(), "open": is_open(session, programme, now),
    }  # fmt: skip


def _log(session: Session, row: Programme, what: str, now: datetime) -> None:
    fields = {"programme": row.programme_id, "participant": row.participant_id, "what": what, "rules": row.rules_digest}
    # It is added and closed once; it may get another name often.
    reference = f"{row.programme_id}:{what}" + (f":{now.isoformat()}" if what == "renamed" else "")
    log_change(session, Kind.PROGRAMME_CHANGED, reference, now, fields)
