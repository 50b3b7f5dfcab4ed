"""Statements of streams and what becomes of their breaks, for tests that need some."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from hub.context import Hub
from hub.db import writing
from hub.reconcile.breaks import propose, require_break, sign
from hub.reconcile.comparing import Recorded, record_statement
from hub.reconcile.documents import ToldStream
from hub.reconcile.lines import LINE_SCHEMA, totals_of
from hub.reconcile.rules import Proposal, Side


def lines_of(*rows: Sequence[Any]) -> pl.DataFrame:
    """Lines of `(source_id, version, claimed_mg, posted_us)`; the end of a row may be left out."""
    whole = [(*row, 0, 0, None)[:4] if len(row) == 1 else (*row, *(None,) * (4 - len(row))) for row in rows]
    return pl.DataFrame(whole, schema=LINE_SCHEMA, orient="row")


def tell(
    hub: Hub,
    window: int,
    platform: str,
    lines: pl.DataFrame,
    now: datetime,
    *,
    stream: str | None = None,
    totals_only: bool = False,
) -> Recorded:
    """Compare one stream's lines, or only their totals."""
    told = ToldStream(stream=stream, totals=totals_of(lines), lines=None if totals_only else lines)
    return record_statement(hub, window, platform, None, now=now, streams=(told,))


def settle(hub: Hub, break_id: int, proposal: Proposal, now: datetime) -> None:
    """Both sides agree on a break."""
    with writing(hub.engine) as session:
        row = require_break(session, break_id, hold=True)
        propose(session, row, proposal, note="", by="client-1", side=Side.PLATFORM, now=now)
        sign(session, row, proposal, by="client-1", side=Side.PLATFORM, now=now)
        sign(session, row, proposal, by="staff-1", side=Side.HUB, now=now)


def settle_charges(hub: Hub, now: datetime) -> None:
    """Of kuaidian's two charges in window 1 one is denied and agreed on; a third is claimed, and then claimed no more."""
    first, third = ("123456789" + "1".zfill(18), 0, 0), ("123456789" + "77".zfill(18), 0, 0)
    done = tell(hub, 1, "kuaidian", lines_of(first, third), now)
    assert len(done.moved.opened) == 2
    settle(hub, done.moved.opened[0], Proposal.PLATFORM_CONFIRMS, now + timedelta(seconds=1))
    again = tell(hub, 1, "kuaidian", lines_of(first), now + timedelta(seconds=2))
    assert (len(again.moved.opened), len(again.moved.closed)) == (0, 1)
