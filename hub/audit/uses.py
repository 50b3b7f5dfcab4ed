"""Invariants 1, 4, 5: kept balances, reservations and debts say what was posted. I/O: reads the database."""

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders

KEPT = "('held', 'reserved', 'locked', 'issued', 'transferred', 'forfeited', 'buffer')"


def kept_balances_are_posted(books: Books) -> Finding:
    """Set the balances that are kept beside the postings against what the postings sum to."""
    wrong = Offenders()
    lot = "account_id, window_id, vintage, rights"
    posted = (
        f"SELECT p.account_id, p.window_id, p.vintage, p.rights, SUM(p.mg) AS mg FROM posting p "
        f"JOIN account a ON a.account_id = p.account_id WHERE a.kind IN {KEPT} "
        "GROUP BY p.account_id, p.window_id, p.vintage, p.rights"
    )
    # A sum below zero has no balance that could say it; another check tells of it.
    both = (
        f"SELECT {lot}, mg, 0 AS kept FROM ({posted}) s WHERE mg >= 0 UNION ALL SELECT {lot}, 0, mg FROM balance b "
        f"WHERE NOT EXISTS (SELECT 1 FROM ({posted}) n WHERE n.mg < 0 AND n.account_id = b.account_id "
        "AND n.window_id = b.window_id AND n.vintage = b.vintage AND n.rights = b.rights)"
    )
    for account, window, vintage, rights, mg, kept in books.rows(
        f"SELECT {lot}, SUM(mg), SUM(kept) FROM ({both}) x GROUP BY {lot} HAVING SUM(mg) <> SUM(kept) ORDER BY {lot}"
    ):
        wrong.add(
            f"account {account}, window {window}, vintage {vintage}, {rights}: {int(mg):,} mg were posted, "
            f"{int(kept):,} mg are kept"
        )
    return Finding(figure=f"{books.count('balance'):,} kept balances", wrong=wrong)


def reservations_are_posted(books: Books) -> Finding:
    """Set every reservation against its lines and its entries: what was reserved, used and given back."""
    wrong = Offenders()
    lines = "SELECT number, SUM(mg) AS mg, SUM(used_mg) AS used FROM reservation_line GROUP BY number"
    for (number,) in books.rows(
        f"SELECT r.number FROM reservation r LEFT JOIN ({lines}) l ON l.number = r.number "
        "WHERE l.number IS NULL OR l.mg <> r.mg OR l.used <> r.used_mg ORDER BY r.number"
    ):
        wrong.add(f"the lines of reservation {number} do not sum to it")
    right = "CASE WHEN p.rights IN ('both', 'incentive') OR r.use = 'retire' THEN p.mg ELSE 0 END"
    sums = (
        "SELECT r.number, r.state, r.mg, r.used_mg, "
        f"SUM(CASE WHEN e.kind = 'reserve' AND a.kind = 'reserved' THEN {right} ELSE 0 END) AS taken, "
        f"SUM(CASE WHEN e.kind IN ('use', 'release') AND a.kind = 'reserved' THEN {right} ELSE 0 END) AS closed, "
        f"SUM(CASE WHEN a.kind IN ('redeemed', 'transferred', 'retired') THEN {right} ELSE 0 END) AS used "
        "FROM reservation r LEFT JOIN journal_entry e ON e.source_id = r.number "
        "AND e.kind IN ('reserve', 'use', 'release') LEFT JOIN posting p ON p.entry_id = e.entry_id "
        "LEFT JOIN account a ON a.account_id = p.account_id AND a.subject_id = r.subject_id "
        "GROUP BY r.number, r.state, r.mg, r.used_mg"
    )
    for number, state in books.rows(
        f"SELECT number, state FROM ({sums}) x WHERE taken <> mg OR used <> used_mg "
        "OR closed <> CASE WHEN state = 'reserved' THEN 0 ELSE -mg END "
        "OR (state <> 'committed' AND used_mg <> 0) OR (state = 'committed' AND used_mg = 0) "
        "OR state NOT IN ('reserved', 'committed', 'voided', 'expired') ORDER BY number"
    ):
        wrong.add(f"reservation {number} is {state!r}, and its entries say something else")
    for (entry,) in books.rows(
        "SELECT e.entry_id FROM journal_entry e LEFT JOIN reservation r ON r.number = e.source_id "
        "WHERE e.kind IN ('reserve', 'use', 'release') AND r.number IS NULL ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} is of a reservation that there is not")
    return Finding(figure=f"{books.count('reservation'):,} reservations", wrong=wrong)


def debts_are_posted(books: Books) -> Finding:
    """Set what platforms owe against what was taken from their accounts and delivered to them."""
    wrong = Offenders()
    for platform, left, posted in books.rows(
        "SELECT platform, SUM(left_mg), SUM(posted) FROM ("
        "SELECT platform, left_mg, 0 AS posted FROM debt WHERE rights <> 'incentive' UNION ALL "
        "SELECT a.platform, 0, -p.mg FROM posting p JOIN account a ON a.account_id = p.account_id "
        "WHERE a.kind = 'owed' AND p.rights <> 'incentive') x GROUP BY platform HAVING SUM(left_mg) <> SUM(posted) "
        "ORDER BY platform"
    ):
        wrong.add(f"{platform} owes {int(left):,} mg, its account says {int(posted):,} mg")
    for entry, rights in books.rows(
        "SELECT d.entry_id, d.rights FROM debt d LEFT JOIN posting p ON p.entry_id = d.entry_id AND p.rights = d.rights "
        "AND p.mg = -d.mg LEFT JOIN account a ON a.account_id = p.account_id AND a.kind = 'owed' "
        "GROUP BY d.entry_id, d.rights HAVING COUNT(a.account_id) = 0 ORDER BY d.entry_id"
    ):
        wrong.add(f"the debt of entry {entry} ({rights}) is not what the entry took")
    left = books.number("SELECT COALESCE(SUM(left_mg), 0) FROM debt WHERE rights <> 'incentive'")
    return Finding(figure=f"{books.count('debt'):,} debts, {left:,} mg of them open", wrong=wrong)
