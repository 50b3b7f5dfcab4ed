"""Invariants 1, 4, 5: entries balance, nothing is below zero, a reversal undoes one issue. I/O: reads the database."""

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from hub.audit.restatements import standing_events

USED = ("redeemed", "transferred", "issued", "retired")
ACCOUNT_KINDS = ("activity", "pending", "held", "reserved", "locked", "forfeited", "owed", "buffer", *USED)
RIGHTS = ("incentive", "attribute")
MAY_BE_NEGATIVE = "('activity', 'owed')"


def entries_sum_to_zero(books: Books) -> Finding:
    """Add up every entry, and all accounts together: for each of a gram's two rights."""
    wrong = Offenders()
    of = {right: f"SUM(CASE WHEN rights IN ('both', '{right}') THEN mg ELSE 0 END)" for right in RIGHTS}
    by_entry = f"SELECT entry_id, {', '.join(of.values())} FROM posting GROUP BY entry_id"
    uneven = " OR ".join(f"{mg} <> 0" for mg in of.values())
    for entry, *sums in books.rows(f"{by_entry} HAVING {uneven} ORDER BY entry_id"):
        for right, mg in zip(RIGHTS, sums, strict=True):
            if mg:
                wrong.add(f"entry {entry} sums to {int(mg):,} mg of the {right}")
    ((postings, *sums),) = books.rows(
        f"SELECT COUNT(*), {', '.join(f'COALESCE({mg}, 0)' for mg in of.values())} FROM posting"
    )
    total = sum(abs(int(mg)) for mg in sums)
    for entry, word in books.rows(
        "SELECT entry_id, rights FROM posting WHERE rights NOT IN ('both', 'incentive', 'attribute') ORDER BY entry_id"
    ):
        wrong.add(f"entry {entry} moves rights {word!r}, which there are none of")
    if total:
        wrong.add(f"all accounts together have {total:,} mg")
    figure = f"{postings:,} postings in {books.count('journal_entry'):,} entries, together {total:,} mg"
    return Finding(figure=figure, wrong=wrong)


def entries_have_two_sides(books: Books) -> Finding:
    """Count the sides of every entry."""
    wrong = Offenders()
    for entry, sides in books.rows(
        "SELECT e.entry_id, COUNT(p.line) FROM journal_entry e LEFT JOIN posting p ON p.entry_id = e.entry_id "
        "GROUP BY e.entry_id HAVING COUNT(p.line) < 2 ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} has {sides} of two sides")
    return Finding(figure=f"{books.count('journal_entry'):,} entries", wrong=wrong)


def postings_are_placed(books: Books) -> Finding:
    """Look for postings without an entry, an account or a window."""
    wrong = Offenders()
    for entry, line in books.rows(
        "SELECT p.entry_id, p.line FROM posting p LEFT JOIN journal_entry e ON e.entry_id = p.entry_id "
        "LEFT JOIN account a ON a.account_id = p.account_id "
        "LEFT JOIN clearing_window w ON w.window_id = p.window_id "
        "WHERE e.entry_id IS NULL OR a.account_id IS NULL OR w.window_id IS NULL ORDER BY p.entry_id, p.line"
    ):
        wrong.add(f"line {line} of entry {entry} has no entry, account or window")
    windows = books.number("SELECT COUNT(DISTINCT window_id) FROM posting")
    return Finding(figure=f"{books.count('posting'):,} postings in {windows:,} windows", wrong=wrong)


def only_events_make_grams(books: Books) -> Finding:
    """Look for entries beside issues and reversals that make grams, or give one person's to another without a use."""
    wrong = Offenders()
    others = "e.kind NOT IN ('issue', 'reverse', 'adjust')"
    within = "e.kind IN ('hold', 'forfeit', 'reserve', 'release', 'use', 'lock', 'unlock', 'pool', 'retire')"
    for (entry,) in books.rows(
        "SELECT DISTINCT entry_id FROM (SELECT p.entry_id FROM posting p "
        "JOIN journal_entry e ON e.entry_id = p.entry_id JOIN account a ON a.account_id = p.account_id "
        f"WHERE {others} AND (a.kind = 'activity' OR {within}) "
        # What goes to the hub's buffer when grams become held is of the person whom the entry is about.
        "GROUP BY p.entry_id, CASE WHEN a.kind = 'buffer' AND e.kind = 'hold' THEN e.source_id ELSE a.subject_id END, "
        "p.window_id, p.vintage HAVING SUM(CASE WHEN p.rights <> 'incentive' THEN p.mg ELSE 0 END) <> 0 "
        "OR SUM(CASE WHEN p.rights <> 'attribute' THEN p.mg ELSE 0 END) <> 0) x ORDER BY entry_id"
    ):
        wrong.add(f"entry {entry} makes, removes or moves grams without an event")
    return Finding(figure=f"{books.count(f'journal_entry e WHERE {others}'):,} other entries", wrong=wrong)


def balances_are_not_negative(books: Books) -> Finding:
    """Add up every account but what platforms reported and what they owe, by window, vintage and rights."""
    wrong = Offenders()
    balances = (
        f"FROM posting p JOIN account a ON a.account_id = p.account_id WHERE a.kind NOT IN {MAY_BE_NEGATIVE} "
        "GROUP BY p.account_id, p.window_id, p.vintage, p.rights"
    )
    for account, window, vintage, mg in books.rows(
        f"SELECT p.account_id, p.window_id, p.vintage, SUM(p.mg) {balances} HAVING SUM(p.mg) < 0 "
        "ORDER BY p.account_id, p.window_id, p.vintage"
    ):
        wrong.add(f"account {account}, window {window}, vintage {vintage}: {int(mg):,} mg")
    return Finding(figure=f"{books.count(f'(SELECT 1 AS one {balances}) x'):,} balances", wrong=wrong)


def used_within_held(books: Books) -> Finding:
    """Set what was used against what was ever held, by person, window and vintage."""
    wrong = Offenders()
    kinds = ", ".join(f"'{kind}'" for kind in ACCOUNT_KINDS)
    for (kind,) in books.rows(f"SELECT DISTINCT kind FROM account WHERE kind NOT IN ({kinds}) ORDER BY kind"):
        wrong.add(f"accounts of kind {kind!r}: this audit does not know what is in them")
    used = ", ".join(f"'{kind}'" for kind in USED)
    # What is taken back comes out of held only as far as it is free; of what was used, the platform owes it.
    moved = "a.kind = 'held' AND e.kind IN ('hold', 'reverse', 'adjust', 'settle', 'lock', 'unlock')"
    columns = ", ".join(
        f"SUM(CASE WHEN {which} AND p.rights IN ('both', '{right}') THEN p.mg ELSE 0 END) AS {name}_{right}"
        for right in RIGHTS
        for name, which in (("used", f"a.kind IN ({used})"), ("held", moved))
    )
    sides = (
        f"SELECT MIN(a.account_id) AS account, p.window_id, p.vintage, {columns} "
        "FROM posting p JOIN account a ON a.account_id = p.account_id JOIN journal_entry e ON e.entry_id = p.entry_id "
        f"WHERE a.subject_id IS NOT NULL AND a.kind IN ('held', {used}) GROUP BY a.subject_id, p.window_id, p.vintage"
    )
    for account, window, vintage, *sums in books.rows(
        f"SELECT * FROM ({sides}) x WHERE {' OR '.join(f'used_{one} > held_{one}' for one in RIGHTS)} ORDER BY 1, 2, 3"
    ):
        for right, spent, held in zip(RIGHTS, sums[::2], sums[1::2], strict=True):
            if spent > held:
                wrong.add(
                    f"the owner of account {account} used the {right} of {int(spent):,} mg of window {window}, "
                    f"vintage {vintage}; {int(held):,} mg were held"
                )
    ever = [f"COALESCE(SUM(used_{right}), 0)" for right in RIGHTS] + ["COALESCE(SUM(held_attribute), 0)"]
    ((incentive, attribute, whole),) = books.rows(f"SELECT {', '.join(ever)} FROM ({sides}) x")
    told = f"{int(incentive):,} mg of incentive and {int(attribute):,} mg of attribute"
    return Finding(figure=f"{told} used of {int(whole):,} mg held ever", wrong=wrong)


def reversals_name_an_issue(books: Books) -> Finding:
    """Look for reversals that do not name the issue of their event, and for other entries that name one.

    What takes a part of an event back, or moves it, names an issue too; `adjustments_are_posted` asks which.
    """
    wrong = Offenders()
    for entry, kind in books.rows(
        "SELECT e.entry_id, e.kind FROM journal_entry e LEFT JOIN journal_entry o ON o.entry_id = e.reverses "
        "WHERE (e.kind = 'reverse' AND (o.entry_id IS NULL OR o.kind <> 'issue' OR o.source_id <> e.source_id)) "
        "OR (e.kind = 'adjust' AND (o.entry_id IS NULL OR o.kind <> 'issue')) "
        "OR (e.kind NOT IN ('reverse', 'adjust') AND e.reverses IS NOT NULL) ORDER BY e.entry_id"
    ):
        named = "does not name the issue of its event" if kind == "reverse" else "is no reversal and names an entry"
        wrong.add(f"entry {entry} {named}")
    count = books.count("journal_entry WHERE kind = 'reverse'")
    return Finding(figure=f"{count:,} reversals", wrong=wrong)


def reversals_within_their_issue(books: Books) -> Finding:
    """Look for issues from which more was taken back than they gave, or from another person, window or vintage."""
    wrong = Offenders()
    for entry, window, vintage, left in books.rows(
        "SELECT o.entry_id, p.window_id, p.vintage, SUM(p.mg) FROM journal_entry e "
        "JOIN journal_entry o ON o.entry_id = COALESCE(e.reverses, e.entry_id) AND o.kind = 'issue' "
        "JOIN posting p ON p.entry_id = e.entry_id JOIN account a ON a.account_id = p.account_id "
        "WHERE a.subject_id IS NOT NULL AND p.rights <> 'incentive' "
        "AND o.entry_id IN (SELECT reverses FROM journal_entry WHERE reverses IS NOT NULL) "
        "GROUP BY o.entry_id, a.subject_id, p.window_id, p.vintage HAVING SUM(p.mg) < 0 "
        "ORDER BY o.entry_id, p.window_id, p.vintage"
    ):
        wrong.add(f"of issue {entry}, {-int(left):,} mg too much were taken from window {window}, vintage {vintage}")
    for entry, mg in books.rows(
        "SELECT o.entry_id, SUM(p.mg) FROM journal_entry e "
        "JOIN journal_entry o ON o.entry_id = COALESCE(e.reverses, e.entry_id) AND o.kind = 'issue' "
        "JOIN posting p ON p.entry_id = e.entry_id JOIN account a ON a.account_id = p.account_id "
        "WHERE a.kind = 'activity' AND o.entry_id IN (SELECT reverses FROM journal_entry WHERE reverses IS NOT NULL) "
        "GROUP BY o.entry_id HAVING SUM(p.mg) > 0 ORDER BY o.entry_id"
    ):
        wrong.add(f"of issue {entry}, {int(mg):,} mg too much went back to the platform's activity")
    taken = books.number(
        "SELECT COALESCE(SUM(p.mg), 0) FROM posting p JOIN journal_entry e ON e.entry_id = p.entry_id "
        "JOIN account a ON a.account_id = p.account_id WHERE e.kind IN ('reverse', 'adjust') AND a.kind = 'activity'"
    )
    return Finding(figure=f"{taken:,} mg taken back", wrong=wrong)


def reversed_events_have_reversals(books: Books) -> Finding:
    """Pair the events that no longer count with the reversals of what they issued, both ways."""
    wrong = Offenders()
    wrong.add_all(standing_events(books))
    for (event,) in books.rows(
        "SELECT v.event_id FROM event_reversal v "
        "WHERE EXISTS (SELECT 1 FROM journal_entry i WHERE i.kind = 'issue' AND i.source_id = v.event_id) AND NOT "
        "EXISTS (SELECT 1 FROM journal_entry e WHERE e.kind = 'reverse' AND e.source_id = v.event_id) "
        "ORDER BY v.event_id"
    ):
        wrong.add(f"event {event} no longer counts, and its grams were not taken back")
    for entry, event in books.rows(
        "SELECT e.entry_id, e.source_id FROM journal_entry e LEFT JOIN event_reversal v ON v.event_id = e.source_id "
        "WHERE e.kind = 'reverse' AND v.event_id IS NULL ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} takes back the grams of event {event}, which still counts")
    return Finding(figure=f"{books.count('event_reversal'):,} events that no longer count", wrong=wrong)
