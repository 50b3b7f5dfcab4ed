"""People for benchmarks, each with a consent and a link. I/O: the benchmark's own database."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.grants import activate_grant, request_grant
from consent.links import Tokens, account_key, open_link
from consent.people import add_person
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from consent.vault import load_vault, new_data_key
from hub.context import Hub
from hub.db import append_frame, writing

AT_ONCE = 10_000


def settle(
    hub: Hub,
    platform: str,
    behaviours: Sequence[str],
    people: int,
    now: datetime,
    *,
    token_of: Callable[[int], str] | None = None,
) -> list[str]:
    """Create people whose accounts are "0", "1", ...: one through the front door, the others as copies of their rows.

    Args:
        token_of: makes each link's access token from the account's number; without it links have none.

    Returns:
        The links' ids, in the order of the accounts.
    """
    with writing(hub.engine) as session:
        model = add_person(session, hub.ring, username="model", password=None, display_name="model", now=now)
        subject_id = model.subject_id
        terms = GrantTerms(
            recipient=HUB, purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
            behaviours=frozenset(behaviours), platforms=frozenset({platform}), sensitive=frozenset(Sensitive),
            valid_from=now - timedelta(days=90), valid_until=now + timedelta(days=365), notice_version="bench",
            language="en",
        )  # fmt: skip
        grant, _ = request_grant(session, subject_id=subject_id, terms=terms, now=now)
        activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        tokens = None if token_of is None else Tokens(access_token=token_of(0))
        link, _ = open_link(
            session, hub.ring, subject_id=subject_id, platform=platform, account="0", grant_id=grant.grant_id,
            valid_from=terms.valid_from, now=now, tokens=tokens,
        )  # fmt: skip
    links = [link.link_id]
    for first in range(1, people, AT_ONCE):
        places = range(first, min(first + AT_ONCE, people))
        links += _copy(hub, platform, subject_id, places, token_of)
    return links


def _copy(hub: Hub, platform: str, model: int, places: range, token_of: Callable[[int], str] | None) -> list[str]:
    ids = [model + place for place in places]
    links = [f"l_{one}" for one in ids]
    people: dict[str, dict[str, list[Any]]] = {
        "person": {
            "subject_id": ids, "username": [None] * len(ids), "data_key": [new_data_key(hub.ring, one) for one in ids],
        },
        "grant_version": {"subject_id": ids, "grant_id": [f"g_{one}" for one in ids]},
        "grant_current": {"subject_id": ids, "grant_id": [f"g_{one}" for one in ids]},
    }  # fmt: skip
    with writing(hub.engine) as session:
        for table, own in people.items():
            _append_like(session, table, model, own)
        vault = load_vault(session, hub.ring, ids)
        row_ids = [f"{link}@{platform}" for link in links]

        def sealed(column: str, texts: list[str]) -> list[bytes]:
            return vault.seal_many(
                "link", column, row_ids=row_ids, subject_ids=ids, plaintexts=[text.encode() for text in texts]
            )

        linked: dict[str, list[Any]] = {
            "subject_id": ids, "grant_id": [f"g_{one}" for one in ids], "link_id": links,
            "account_key": [account_key(hub.ring, platform, str(place)) for place in places],
            "account_sealed": sealed("account_sealed", [str(place) for place in places]),
        }  # fmt: skip
        if token_of is not None:
            documents = [json.dumps({"access_token": token_of(place), "refresh_token": None}) for place in places]
            linked["token_sealed"] = sealed("token_sealed", documents)
        _append_like(session, "link", model, linked)
    return links


def _append_like(session: Session, table: str, model: int, own: dict[str, list[Any]]) -> None:
    """Append rows that are like the model's, but for some columns."""
    count = len(own["subject_id"])
    rows = session.execute(text(f"SELECT * FROM {table} WHERE subject_id = :s"), {"s": model}).mappings()
    for row in rows.all():
        same = {name: [value] * count for name, value in row.items() if name not in own}
        append_frame(session, table, pl.DataFrame({**same, **own}, strict=False))
