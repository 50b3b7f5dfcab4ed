"""Invariant 12, erasure: who was erased has nothing left, and what they earned cannot be earned again. I/O: reads the database.

Offenders are counted and never numbered by the person: a report can be handed on as it is.
"""

from hub.audit.books import DAY_US, ERASED, Books
from hub.audit.report import Finding, Offenders

_IS_A_DAY = f"(start_us + 28800000000) % {DAY_US} = 0 AND end_us = start_us"
_LIVE_STATES = "('requested', 'active', 'paused')"
_USABLE = "('pending', 'held', 'reserved', 'locked')"


def erased_people_are_gone(books: Books) -> Finding:
    """Look for erased people whose name, password, birth date or key is still there."""
    left = books.count(
        "person WHERE erased_at IS NOT NULL AND (username IS NOT NULL OR display_name IS NOT NULL "
        "OR password_hash IS NOT NULL OR data_key IS NOT NULL OR kek_id IS NOT NULL OR born_sealed IS NOT NULL)"
    )
    return _finding(books, {"an erased person still has a name, a password, a birth date or a key": left})


def erased_people_left_nothing_open(books: Books) -> Finding:
    """Look for grants that allow, links that own, and sessions, tokens and passkeys that let in."""
    latest = "NOT EXISTS (SELECT 1 FROM grant_version n WHERE n.grant_id = v.grant_id AND n.version > v.version)"
    found = {
        "a grant of an erased person still allows something": books.count(
            f"grant_version v WHERE v.subject_id IN {ERASED} AND v.state IN {_LIVE_STATES} AND {latest}"
        ),
        "a link of an erased person is open": books.count(f"link WHERE subject_id IN {ERASED} AND valid_until IS NULL"),
    }
    for table in ("web_session", "access_token", "refresh_token", "authorization_code", "passkey", "link_attempt"):
        found[f"an erased person still has a row in {table}"] = books.count(f"{table} WHERE subject_id IN {ERASED}")
    return _finding(books, found)


def erased_records_are_empty(books: Books) -> Finding:
    """Look for contents, accounts, order numbers, places and times of day that an erasure left behind."""
    return _finding(
        books,
        {
            "a record of an erased person still has its content or time": books.count(
                f"source_record WHERE subject_id IN {ERASED} AND (length(payload) > 0 OR posted_us IS NOT NULL)"
            ),
            "an act of an erased person still has a time, a place or an order number": books.count(
                f"reduction_record WHERE subject_id IN {ERASED} AND (event_key IS NOT NULL OR payment_key IS NOT NULL "
                f"OR region % 100 <> 0 OR NOT ({_IS_A_DAY}))"
            ),
            "an event of an erased person still has a time of day": books.count(
                f"event WHERE subject_id IN {ERASED} AND NOT ({_IS_A_DAY})"
            ),
            "a link of an erased person still has its account or token": books.count(
                f"link WHERE subject_id IN {ERASED} AND (length(account_sealed) > 0 OR token_sealed IS NOT NULL)"
            ),
            "an erased person's receipt can still be read": books.count(
                f"receipt WHERE subject_id IN {ERASED} AND length(jws_sealed) > 0"
            ),
        },
    )


def erased_records_are_spent(books: Books) -> Finding:
    """Count the marks of erased people's records: each record has one, and there is no other.

    A mark cannot be computed again, because the name that it was made from is gone; but a record that is marked is never
    stored again, so the numbers must be the same.
    """
    wrong = Offenders()
    records = books.count(
        f"(SELECT DISTINCT platform, stream, source_id FROM source_record WHERE subject_id IN {ERASED}) x"
    )
    marks = books.count("spent_record")
    if records != marks:
        wrong.add(f"{records:,} records of erased people have {marks:,} marks")
    return Finding(figure=f"{marks:,} marks of {records:,} records", wrong=wrong)


def only_the_erased_forfeit(books: Books) -> Finding:
    """Look for erased people who still hold something, and for others who forfeited something."""
    balances = (
        "FROM posting p JOIN account a ON a.account_id = p.account_id WHERE {} "
        "GROUP BY a.account_id, p.window_id, p.vintage HAVING SUM(p.mg) <> 0"
    )
    held = balances.format(f"a.kind IN {_USABLE} AND a.subject_id IN {ERASED}")
    others = balances.format(f"a.kind = 'forfeited' AND (a.subject_id IS NULL OR a.subject_id NOT IN {ERASED})")
    wrong = Offenders()
    wrong.add_all(
        f"account {account} is an erased person's and holds {int(mg):,} mg"
        for account, mg in books.rows(f"SELECT a.account_id, SUM(p.mg) {held} ORDER BY 1, 2")
    )
    wrong.add_all(
        f"account {account} forfeited {int(mg):,} mg, and nobody was erased"
        for account, mg in books.rows(f"SELECT a.account_id, SUM(p.mg) {others} ORDER BY 1, 2")
    )
    total = books.number(
        "SELECT COALESCE(SUM(p.mg), 0) FROM posting p JOIN account a ON a.account_id = p.account_id "
        "WHERE a.kind = 'forfeited'"
    )
    return Finding(figure=f"{total:,} mg forfeited", wrong=wrong)


def _finding(books: Books, found: dict[str, int]) -> Finding:
    wrong = Offenders()
    for what, count in found.items():
        wrong.add_all(what for _ in range(count))
    return Finding(figure=f"{books.count('person WHERE erased_at IS NOT NULL'):,} erased people", wrong=wrong)
