"""Answer a platform's question from what stands in the hub. I/O: the database.

One transaction: the place in the platform's allowance, the answer and the log's leaf, which has counts and no number.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session

from consent.guard import permit
from consent.keyring import KeyPurpose
from consent.terms import HUB, Purpose
from hub.changes import log_change
from hub.clearing.adoption import policy_of_window
from hub.clearing.windows import find_open_window
from hub.context import Hub
from hub.db import load_by_ids, writing
from hub.errors import NotAdmitted, NotFound
from hub.log.leaves import Kind
from hub.participants import Status, open_platform
from hub.precheck.allowance import take_place
from hub.precheck.asking import CLAIMS_SCHEMA, Question, answer_events, read_events
from standards.policy import ClearingPolicy

MOST_REPORTS = 256
"""A number under which there are more reports is no number of one act, whoever carries it; they are not read."""
_FOUND = {name: kind for name, kind in CLAIMS_SCHEMA.items() if name != "kind"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The answers in the order of the question, and how many acts may still be asked about today."""

    claimed: list[bool]
    left: int


def check_claims(hub: Hub, platform: str, question: Question, *, now: datetime) -> Checked:
    """Say for each act whether another platform has claimed it.

    Raises:
        NotAdmitted: the participant may not ask.
        UsageProblem: an act is none that may be asked about; nothing was counted.
        UsedUp: the platform has asked enough for now; nothing was counted.
    """
    with writing(hub.engine) as session:
        asked = read_events(
            question,
            behaviours=_reported(session, hub, platform),
            token_key=hub.ring.hmac_key(KeyPurpose.EVENT),
            now=now,
        )
        settings = hub.settings
        taken = take_place(
            session, platform, len(asked), now, calls=settings.precheck_calls_per_minute,
            most=settings.precheck_events_per_day,
        )  # fmt: skip
        policy = _policy_in_force(session)
        claims = _allowed(session, load_claims(session, asked), now)
        claimed = answer_events(asked, claims, platform=platform, policy=policy)
        fields = {"participant": platform, "asked_count": len(claimed), "claimed_count": sum(claimed)}
        log_change(session, Kind.PRECHECK_ANSWERED, f"{platform}:{now.isoformat()}:{taken.number}", now, fields)
    return Checked(claimed=claimed, left=taken.left)


def load_claims(session: Session, asked: pl.DataFrame) -> pl.DataFrame:
    """Load what stands under the numbers that are asked for (CLAIMS_SCHEMA).

    Superseded and withdrawn versions, rejected reports and those of acts that were taken back claim nothing.
    """
    found = [pl.DataFrame(schema=CLAIMS_SCHEMA)]
    for (kind,), rows in asked.group_by("kind", maintain_order=True):
        keys = _numbers(session, str(kind), rows["key"].unique(maintain_order=True).to_list())
        sql = (
            f"SELECT r.{kind}, r.subject_id, r.platform, r.role, r.behaviour, r.start_us, d.verdict "
            "FROM reduction_record r JOIN source_record s ON s.record_id = r.record_id "
            "LEFT JOIN decision d ON d.record_id = r.record_id AND NOT EXISTS "
            "(SELECT 1 FROM decision n WHERE n.record_id = d.record_id AND n.window_id > d.window_id) "
            "LEFT JOIN event_reversal v ON v.event_id = d.event_id "
            f"WHERE r.{kind} IN :ids AND s.superseded_by IS NULL AND s.cancelled = :no AND v.event_id IS NULL "
            "AND COALESCE(d.verdict, '') <> 'rejected'"
        )
        told = load_by_ids(session, sql, _FOUND, keys, no=False)
        found.append(told.with_columns(kind=pl.lit(str(kind))).select(list(CLAIMS_SCHEMA)))
    return pl.concat(found)


def _reported(session: Session, hub: Hub, platform: str) -> frozenset[str]:
    try:
        opened = open_platform(session, hub.ring, platform)
    except NotFound:
        raise NotAdmitted("this participant may not ask") from None
    if opened.status is not Status.ACTIVE:
        raise NotAdmitted("this participant may not ask")
    return frozenset(opened.document.behaviours)


def _policy_in_force(session: Session) -> ClearingPolicy:
    window = find_open_window(session)
    if window is None:
        raise NotFound("no clearing window is open; run `tanlian migrate`")
    return policy_of_window(session, window.window_id)


def _numbers(session: Session, kind: str, keys: list[int]) -> list[int]:
    """Leave out what is constant in somebody's records: a platform's own merchant number has millions of reports."""
    sql = f"SELECT r.{kind}, COUNT(*) FROM reduction_record r WHERE r.{kind} IN :ids GROUP BY r.{kind}"
    counted = load_by_ids(session, sql, {"key": pl.Int64(), "reports": pl.Int64()}, keys)
    return counted.filter(pl.col("reports") <= MOST_REPORTS)["key"].to_list()


def _allowed(session: Session, claims: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Keep the claims of people who allow clearing now: to say that an act is claimed is a part of clearing it."""
    numbered = claims.with_row_index("row")
    asked = numbered.select(
        "row", "subject_id", "platform", "behaviour", at=pl.col("start_us").cast(pl.Datetime("us", "UTC"))
    )
    permission = permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=now)
    return numbered.join(permission.allowed, on="row", how="semi").drop("row")
