"""Which serials of blocks were pooled since a window became final. I/O: reads the database."""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

_ISSUED = (
    "SELECT participant, serial_first, serial_last, vintage_year, shares_root FROM credit_issuance "
    "ORDER BY participant, serial_first"
)


def load_issued(session: Session, before: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return, by market, the ranges of serials after those that the window before named, and the last serial so far.

    A market without new ranges is named too, so that each manifest says where the next one goes on. Serials of a market
    are given out one after the other, so ranges come to light in their order.

    Args:
        before: the last serial of each market that the manifest before named.
    """
    issued = []
    for market, rows in groupby(session.execute(text(_ISSUED)), key=itemgetter(0)):
        since = before.get(market, 0)
        ranges = [
            {"first": first, "last": last, "year": year, "shares_root": bytes(root).hex()}
            for _, first, last, year, root in rows
            if first > since
        ]
        last = max([since, *(one["last"] for one in ranges)])
        issued.append({"market": market, "after": since, "last": last, "ranges": ranges})
    return issued
