"""Why records of the database were decided as they were. I/O: reads the database, inside the caller's transaction.

A decision is explained as it is stored, with the version of the policy that made it. Its figures come from clearing the
person's records of that window once more; where that does not come to the stored decision, because what was learnt over
the whole window is not known here or consent has changed since, the figures are left out and the explanation says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.clearing.deciding import observe_window
from hub.clearing.explain.explaining import explain_records
from hub.clearing.explain.explanation import Explanation, Report, redact
from hub.clearing.explain.sentences import LANGUAGES, Name, Names, contest, notes, sentence
from hub.clearing.kernel.facts import Facts, conclude, merge_evidence
from hub.clearing.learning import gather_people, load_before
from hub.clearing.reviews.holds import load_released
from hub.clearing.reviews.reviews import waived_records
from hub.clearing.store import NEWEST, Span
from hub.clearing.versions import TAKEN_BACK
from hub.clearing.windows import load_span
from hub.db import load_frame
from hub.errors import NotFound
from hub.participants import load_participants
from standards.policy import ClearingPolicy, load_policy
from standards.schema import DECISION_SCHEMA, QUANTIFIED_SCHEMA

# Decided before the kernel, by the record's version or by the person's consent.
BEFORE_KERNEL = ("withdrawn_by_platform", "superseded_version", TAKEN_BACK)
_TIMES = {"start_at": "start_us", "end_at": "end_us"}
_KEYS = ("event_key", "payment_key")
_DECISION = ("event_id", "verdict", "rule", "reason", "counted_mg", "canonical_record_id")
_COLUMNS = ", ".join(
    [f"r.{_TIMES.get(name, name)}" for name in QUANTIFIED_SCHEMA]
    + ["r.methodology", "d.policy", "d.provisional", *(f"d.{name}" for name in _DECISION)]
)
_ROWS: dict[str, Any] = {
    _TIMES.get(name, name): pl.Int64() if name in _TIMES or name in _KEYS else kind
    for name, kind in QUANTIFIED_SCHEMA.items()
} | {"methodology": pl.String(), "policy": pl.String(), "provisional": pl.Boolean()}
_ROWS |= {name: DECISION_SCHEMA[name] for name in _DECISION}
_FROM = f"SELECT {_COLUMNS} FROM reduction_record r JOIN decision d USING (record_id)"
_WINDOW = f"{_FROM} WHERE d.subject_id = :s AND d.window_id = :w"
# What stood when the window was cleared, as clearing looks at it: decided before, not taken back by then, not superseded.
_BEFORE = (
    f"{_FROM} JOIN source_record s USING (record_id) LEFT JOIN event_reversal v ON v.event_id = d.event_id "
    "AND v.window_id <= :w WHERE d.subject_id = :s AND d.window_id < :w AND v.event_id IS NULL "
    "AND d.verdict <> 'rejected' AND d.reason <> 'declared_only' "
    "AND (s.superseded_by IS NULL OR s.superseded_by > :last) AND NOT EXISTS (SELECT 1 FROM decision l "
    "WHERE l.record_id = d.record_id AND l.window_id > d.window_id AND l.window_id <= :w)"
)
_EARLIER = "SELECT record_id, event_id FROM decision WHERE subject_id = :s AND window_id < :w AND event_id IS NOT NULL"
_LATER = f"{_FROM} WHERE d.subject_id = :s AND d.window_id > :w AND {NEWEST}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An explanation of a stored decision with what the database knows besides."""

    told: Explanation
    provisional: bool
    reversed_since: bool
    taken_mg: int = 0
    names: Names

    def sentence(self, language: str) -> str:
        """Say it in one sentence."""
        return sentence(self.told, language, self.names)

    def notes(self, language: str) -> tuple[str, ...]:
        """Return what else there is to say."""
        return notes(
            self.told, language, self.names, provisional=self.provisional, reversed_since=self.reversed_since,
            taken_mg=self.taken_mg,
        )  # fmt: skip

    def contest(self, language: str) -> str:
        """Say where to go if it is not right."""
        return contest(self.told, language, self.names)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values: `sentence`, `notes` and `contest` by language, and `data`."""
        return {
            "sentence": {language: self.sentence(language) for language in LANGUAGES},
            "notes": {language: list(self.notes(language)) for language in LANGUAGES},
            "contest": {language: self.contest(language) for language in LANGUAGES},
            "provisional": self.provisional,
            "reversed": self.reversed_since,
            "taken_back_mg": self.taken_mg,
            "data": self.told.to_dict(),
        }


def explain_stored(
    session: Session,
    record_id: int,
    *,
    may_see: Callable[[Report], bool] | None = None,
    thorough: bool = False,
) -> Explained:
    """Explain the decision about one record.

    Args:
        may_see: whether who asks may know of a report; by default of every one, which is for the person and the operator.
        thorough: learn over the whole window again where that is needed, however long it takes.

    Raises:
        NotFound: there is no such record, or nothing was decided about it yet.
    """
    found = explain_event(session, record_id, [record_id], may_see=may_see, thorough=thorough)
    return found[record_id]


def explain_event(
    session: Session,
    record_id: int,
    record_ids: Sequence[int],
    *,
    may_see: Callable[[Report], bool] | None = None,
    thorough: bool = False,
) -> dict[int, Explained]:
    """Explain several records of one person and window: those of the record's window that are among `record_ids`.

    Raises:
        NotFound: as for one record.
    """
    window_id, subject_id = _place(session, record_id)
    now = _load(session, _WINDOW, w=window_id, s=subject_id)
    wanted = [one for one in record_ids if one in set(now["record_id"])]
    explained = _explained(session, window_id, now, subject_id, wanted, thorough=thorough)
    provisional = dict(now.select("record_id", "provisional").iter_rows())
    taken_back, parts = _load_reversed(session, subject_id), _load_parts(session, subject_id)
    names = load_names(session)
    return {
        one: Explained(
            told=found if may_see is None else redact(found, may_see),
            provisional=bool(provisional[one]), reversed_since=found.report.event_id in taken_back,
            taken_mg=parts.get(one, 0), names=names,
        )
        for one, found in explained.items()
    }  # fmt: skip


def load_names(session: Session) -> Names:
    """Return what the platforms are called."""
    return {one.participant_id: Name(en=one.name_en, zh=one.name_zh) for one in load_participants(session)}


def _explained(
    session: Session, window_id: int, now: pl.DataFrame, subject_id: int, wanted: list[int], *, thorough: bool
) -> dict[int, Explanation]:
    """Explain by the policy that decided; first by what the person's own records teach, then by the whole window's."""
    place = {"w": window_id, "s": subject_id}
    span = load_span(session, window_id)
    before, later = _load(session, _BEFORE, last=span.last_seq, **place), _load(session, _LATER, **place)
    of_kernel = ~(pl.col("reason").is_in(BEFORE_KERNEL) | (pl.col("rule") == "consent"))
    new, aside = (now.filter(which).select(list(QUANTIFIED_SCHEMA)) for which in (of_kernel, ~of_kernel))
    earlier = load_frame(session, _EARLIER, {"record_id": pl.Int64(), "event_id": pl.Int64()}, **place)
    waived = waived_records(load_released(session, window_id), earlier, new)
    versions = dict(now.select("record_id", "policy").iter_rows())
    cleared = not now["provisional"].any()

    def by(version: str, facts: Facts | None) -> dict[int, Explanation]:
        policy = load_policy(version)
        known = facts or _facts(session, span, new, before, policy, cleared=cleared)
        return explain_records(
            new, before, policy, known, record_ids=[one for one in wanted if versions[one] == version], waived=waived,
            decided=now.select(list(DECISION_SCHEMA)), set_aside=aside, later=later,
            methodologies=dict(now.select("record_id", "methodology").iter_rows()),
        )  # fmt: skip

    asked = sorted({versions[one] for one in wanted})
    found = {record: told for version in asked for record, told in by(version, None).items()}
    if thorough and not all(told.reproduced for told in found.values()):
        facts = observe_window(session, window_id, groups=_groups(session, window_id))
        found = {record: told for version in asked for record, told in by(version, facts).items()}
    return found


def _facts(
    session: Session, span: Span, new: pl.DataFrame, before: pl.DataFrame, policy: ClearingPolicy, *, cleared: bool
) -> Facts:
    """What was known when the window was cleared: the counts that were kept of it, and the person's keys and rides."""
    own = gather_people(session, span, new, before, policy)
    if cleared:
        return conclude(replace(load_before(session, span.window_id + 1), keys=own.keys, rides=own.rides), policy)
    return conclude(merge_evidence([own, load_before(session, span.window_id)]), policy)


def _place(session: Session, record_id: int) -> tuple[int, int]:
    """The window whose decision about a record stands, and the person."""
    sql = "SELECT window_id, subject_id FROM decision WHERE record_id = :r ORDER BY window_id DESC LIMIT 1"
    row = session.execute(text(sql), {"r": record_id}).one_or_none()
    if row is not None:
        return int(row[0]), int(row[1])
    known = session.execute(text("SELECT 1 FROM reduction_record WHERE record_id = :r"), {"r": record_id}).first()
    raise NotFound(f"nothing is decided about record {record_id} yet" if known else f"there is no record {record_id}")


def _groups(session: Session, window_id: int) -> int:
    row = session.execute(text("SELECT groups FROM clearing_window WHERE window_id = :w"), {"w": window_id}).one()
    return int(row[0] or 1)


def _load(session: Session, sql: str, **params: Any) -> pl.DataFrame:
    """QUANTIFIED with methodology, policy, provisional and DECISION."""
    time = pl.Datetime("us", "UTC")
    rows = load_frame(session, f"{sql} ORDER BY record_id", _ROWS, **params)
    return rows.with_columns(
        start_at=pl.col("start_us").cast(time), end_at=pl.col("end_us").cast(time),
        **{name: pl.col(name).reinterpret(signed=False) for name in _KEYS},
    )  # fmt: skip


def _load_reversed(session: Session, subject_id: int) -> set[int]:
    sql = "SELECT v.event_id FROM event_reversal v JOIN event e USING (event_id) WHERE e.subject_id = :s"
    return {int(event_id) for (event_id,) in session.execute(text(sql), {"s": subject_id})}


def _load_parts(session: Session, subject_id: int) -> dict[int, int]:
    """Return what was taken back of a person's events that still count, by event: it is off the record that names it."""
    sql = "SELECT j.event_id, j.taken_mg FROM event_adjusted j JOIN event e USING (event_id) WHERE e.subject_id = :s"
    return {int(event_id): int(mg) for event_id, mg in session.execute(text(sql), {"s": subject_id})}
