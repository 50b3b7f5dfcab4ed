"""Attestations: none says more than there is, none outlives its consent or its person, and the public bits are true.

I/O: reads the database. ADR 0033.
"""

from hub.audit.books import ERASED, Books
from hub.audit.report import Finding, Offenders

# By the day of the act: stored days are compared as the number yyyymmdd of Asia/Shanghai.
_DAY = "CAST(replace(CAST({} AS TEXT), '-', '') AS INTEGER)"
_ACT_DAY_SQLITE = "CAST(strftime('%Y%m%d', e.start_us / 1000000 + 28800, 'unixepoch') AS INTEGER)"
_ACT_DAY_POSTGRES = (
    "CAST(to_char(to_timestamp(e.start_us / 1000000 + 28800) AT TIME ZONE 'UTC', 'YYYYMMDD') AS INTEGER)"
)
_LATEST = "NOT EXISTS (SELECT 1 FROM grant_version n WHERE n.grant_id = g.grant_id AND n.version > g.version)"


def attestations_are_covered(books: Books) -> Finding:
    """Add up the acts of each attestation's period anew; what stands unrevoked says no more than they come to.

    For what a recipient got under a consent all acts of the person are an upper bound: a statement above it is wrong whatever the
    consent was.
    """
    wrong = Offenders()
    for name, cleared, final, cleared_now, final_now in books.rows(
        "SELECT t.attestation_id, t.cleared_mg, t.final_mg, COALESCE(SUM(x.cleared), 0), COALESCE(SUM(x.final), 0) "
        f"FROM attestation t LEFT JOIN ({_acts(books)}) x ON x.subject_id = t.subject_id "
        f"AND x.day BETWEEN {_DAY.format('t.since')} AND {_DAY.format('t.until')} "
        "WHERE t.revoked_at IS NULL GROUP BY t.attestation_id, t.cleared_mg, t.final_mg ORDER BY t.attestation_id"
    ):
        for what, said, left in (("cleared", cleared, cleared_now), ("final", final, final_now)):
            if said is None or int(said) > int(left):
                wrong.add(f"attestation {name} says {said} mg {what}, its acts come to {int(left)} mg")
    return Finding(figure=_figure(books), wrong=wrong)


def attestations_rest_on_consent(books: Books) -> Finding:
    """Look for attestations that stand although the consent they were made under has ended, or was never that recipient's."""
    wrong = Offenders()
    for (name,) in books.rows(
        "SELECT t.attestation_id FROM attestation t LEFT JOIN grant_version g ON g.grant_id = t.grant_id "
        f"AND g.recipient = t.recipient AND g.subject_id = t.subject_id AND {_LATEST} WHERE t.revoked_at IS NULL "
        "AND t.recipient <> 'self' AND (g.state IS NULL OR g.state NOT IN ('active', 'paused')) ORDER BY t.attestation_id"
    ):
        wrong.add(f"attestation {name} stands, and the consent for it does not")
    return Finding(figure=_figure(books), wrong=wrong)


def status_bits_are_true(books: Books) -> Finding:
    """Set the bits of every status list against the attestations that have a place in it."""
    wrong, places = Offenders(), 0
    for number, size, used, bits in books.rows("SELECT list_id, size, used, bits FROM status_list ORDER BY list_id"):
        rows = list(books.rows("SELECT list_index, revoked_at FROM attestation WHERE list_id = :n", n=number))
        places += len(rows)
        revoked = {index for index, at in rows if at is not None}
        found = {
            8 * byte + bit for byte, value in enumerate(bytes(bits)) if value for bit in range(8) if value >> bit & 1
        }
        for index in sorted(found ^ revoked):
            wrong.add(f"bit {index} of status list {number} is {'set' if index in found else 'not set'}")
        if len(bytes(bits)) * 8 != size or used != len(rows) or any(not 0 <= index < size for index, _ in rows):
            wrong.add(
                f"status list {number} has {len(bytes(bits)) * 8} bits and {len(rows)} places for {size} and {used}"
            )
    return Finding(figure=f"{places:,} places in {books.count('status_list'):,} lists", wrong=wrong)


def erased_attestations_are_gone(books: Books) -> Finding:
    """Look for attestations of erased people that still stand or still say something."""
    wrong = Offenders()
    for (name,) in books.rows(
        f"SELECT attestation_id FROM attestation WHERE subject_id IN {ERASED} AND (revoked_at IS NULL "
        "OR length(statement_sealed) > 0 OR since IS NOT NULL OR until IS NOT NULL OR cleared_mg IS NOT NULL "
        "OR final_mg IS NOT NULL OR disclosed <> '[]' OR request_key IS NOT NULL) ORDER BY attestation_id"
    ):
        wrong.add(f"attestation {name} of an erased person stands or says something")
    return Finding(figure=_figure(books), wrong=wrong)


def _acts(books: Books) -> str:
    """Return SQL for what each cleared act of a person with attestations comes to: subject_id, day, cleared, final."""
    postgres = books.hub.engine.dialect.name == "postgresql"
    day = _ACT_DAY_POSTGRES if postgres else _ACT_DAY_SQLITE
    least, most = ("LEAST", "GREATEST") if postgres else ("MIN", "MAX")
    of_activity = (
        "FROM journal_entry i {more} JOIN account a ON a.account_id = p.account_id AND a.kind = 'activity' "
        "WHERE i.kind = 'issue' AND i.window_id = e.window_id AND i.source_id = e.event_id"
    )
    issued = f"COALESCE((SELECT SUM(-p.mg) {of_activity.format(more='JOIN posting p ON p.entry_id = i.entry_id')}), 0)"
    taken = "JOIN journal_entry j ON j.reverses = i.entry_id JOIN posting p ON p.entry_id = j.entry_id"
    back = f"COALESCE((SELECT SUM(p.mg) {of_activity.format(more=taken)}), 0)"
    return (
        f"SELECT y.subject_id, y.day, {most}(y.mg - y.back, 0) AS cleared, "
        f"CASE WHEN y.state = 'final' THEN {most}({least}(y.mg, y.issued) - y.back, 0) ELSE 0 END AS final FROM ("
        f"SELECT e.subject_id, {day} AS day, e.mg, w.state, {issued} AS issued, {back} AS back FROM event e "
        "JOIN clearing_window w ON w.window_id = e.window_id WHERE NOT e.provisional "
        "AND e.subject_id IN (SELECT subject_id FROM attestation WHERE revoked_at IS NULL) "
        "AND NOT EXISTS (SELECT 1 FROM event_reversal v WHERE v.event_id = e.event_id)) y"
    )


def _figure(books: Books) -> str:
    standing = books.count("attestation WHERE revoked_at IS NULL")
    return f"{standing:,} of {books.count('attestation'):,} attestations stand"
