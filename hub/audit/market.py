"""Invariants 4 and 10: blocks are whole tonnes, stand as posted, and their income is shared. I/O: reads the database."""

import hmac
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

from hub.audit.bodies import leaf_bodies
from hub.audit.books import ERASED, Books
from hub.audit.report import Finding, Offenders
from hub.audit.roots import merkle_root

TONNE_MG = 1_000_000_000
_PURPOSES = "('quota_offset', 'neutrality', 'voluntary', 'compensation')"


def blocks_are_whole(books: Books) -> Finding:
    """Lay the shares of every block side by side: from 0 to one tonne, without gap or overlap, all of the block's year."""
    wrong, shares = Offenders(), 0
    rows = books.rows(
        "SELECT b.number, b.vintage_year, s.offset_mg, s.mg, s.vintage FROM credit_block b "
        "LEFT JOIN block_share s ON s.number = b.number ORDER BY b.number, s.offset_mg"
    )
    for number, group in groupby(rows, key=itemgetter(0)):
        end = 0
        for _, year, offset, mg, vintage in group:
            if offset is None:
                break
            shares += 1
            if offset != end or mg <= 0:
                wrong.add(f"block {number}: a share begins at {int(offset):,} mg, the one before ends at {end:,} mg")
            if vintage // 10_000 != year:
                wrong.add(f"block {number} of {year} has a share of the day {vintage}")
            end = int(offset) + int(mg)
        if end != TONNE_MG:
            wrong.add(f"block {number} is of {end:,} mg")
    for (number,) in books.rows(
        "SELECT DISTINCT s.number FROM block_share s LEFT JOIN credit_block b ON b.number = s.number "
        "WHERE b.number IS NULL ORDER BY s.number"
    ):
        wrong.add(f"shares are of block {number}, which there is not")
    return Finding(figure=f"{shares:,} shares of {books.count('credit_block'):,} blocks", wrong=wrong)


def serials_are_dense(books: Books) -> Finding:
    """Count the serials of every market from 1: each is given once, by an issuance that follows the one before."""
    wrong, last = Offenders(), dict[str, int]()
    for issuance, participant, first, end in books.rows(
        "SELECT issuance_id, participant, serial_first, serial_last FROM credit_issuance "
        "ORDER BY participant, serial_first, issuance_id"
    ):
        if first != last.get(participant, 0) + 1 or end < first:
            wrong.add(f"issuance {issuance} of {participant} has the serials {first} to {end} and does not follow")
        last[participant] = end
    for number, participant, serial in books.rows(
        "SELECT b.number, b.participant, b.serial FROM credit_block b LEFT JOIN credit_issuance i "
        "ON i.issuance_id = b.issuance_id AND i.participant = b.participant AND i.vintage_year = b.vintage_year "
        "AND b.serial BETWEEN i.serial_first AND i.serial_last WHERE i.issuance_id IS NULL ORDER BY b.number"
    ):
        wrong.add(f"block {number} has serial {serial} of {participant}, which its issuance did not give")
    for issuance, wanted, found in books.rows(
        "SELECT i.issuance_id, i.serial_last - i.serial_first + 1, COUNT(DISTINCT b.serial) FROM credit_issuance i "
        "LEFT JOIN credit_block b ON b.issuance_id = i.issuance_id GROUP BY i.issuance_id, i.serial_first, i.serial_last "
        "HAVING COUNT(DISTINCT b.serial) <> i.serial_last - i.serial_first + 1 "
        "OR COUNT(b.serial) <> COUNT(DISTINCT b.serial) ORDER BY i.issuance_id"
    ):
        wrong.add(f"issuance {issuance} gave {wanted} serials, and {found} are of blocks")
    return Finding(figure=f"{sum(last.values()):,} serials of {len(last):,} markets", wrong=wrong)


def blocks_are_posted(books: Books) -> Finding:
    """Set every block's state against its shares and its entries: pooled once, retired once and only if it is so."""
    wrong = Offenders()
    for number, state in books.rows(
        "SELECT number, state FROM credit_block WHERE NOT ("
        "(state = 'held' AND purpose IS NULL AND expires_at IS NULL AND retired_at IS NULL AND beneficiary IS NULL) OR "
        f"(state IN ('frozen', 'pending_offset') AND purpose IN {_PURPOSES} AND expires_at IS NOT NULL "
        "AND retired_at IS NULL AND beneficiary IS NULL AND (state = 'frozen' OR reference IS NOT NULL)) OR "
        f"(state = 'retired' AND purpose IN {_PURPOSES} AND retired_at IS NOT NULL AND expires_at IS NULL "
        "AND beneficiary IS NOT NULL)) ORDER BY number"
    ):
        wrong.add(f"block {number} is {state!r}, and its purpose, beneficiary or times do not say so")
    for number, state, pools, retirements in books.rows(
        "SELECT number, state, pools, retirements FROM (SELECT b.number, b.state, "
        "COUNT(CASE WHEN e.kind = 'pool' THEN 1 END) AS pools, COUNT(CASE WHEN e.kind = 'retire' THEN 1 END) AS retirements "
        "FROM credit_block b LEFT JOIN journal_entry e ON e.source_id = b.number AND e.kind IN ('pool', 'retire') "
        "GROUP BY b.number, b.state) x WHERE pools <> 1 OR retirements <> CASE WHEN state = 'retired' THEN 1 ELSE 0 END "
        "ORDER BY number"
    ):
        wrong.add(f"block {number} is {state!r}, was pooled {pools} times and retired {retirements} times")
    for (entry,) in books.rows(
        "SELECT e.entry_id FROM journal_entry e LEFT JOIN credit_block b ON b.number = e.source_id "
        "WHERE e.kind IN ('pool', 'retire') AND b.number IS NULL ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} is of a block that there is not")
    wrong.add_all(_moved_otherwise(books))
    retired = books.count("credit_block WHERE state = 'retired'")
    return Finding(figure=f"{retired:,} of {books.count('credit_block'):,} blocks retired", wrong=wrong)


def _moved_otherwise(books: Books) -> Iterator[str]:
    """Yield blocks whose shares are not what their entries moved, for each person, day and right, and issues of no block."""
    place = "number, participant, subject_id, window_id, vintage, rights"
    shared = (
        "SELECT s.number, b.participant, s.subject_id, s.window_id, s.vintage, s.rights, s.mg AS shared, "
        "CASE WHEN b.state = 'retired' THEN s.mg ELSE 0 END AS used, 0 AS issued, 0 AS retired "
        "FROM block_share s JOIN credit_block b ON b.number = s.number"
    )
    posted = (
        "SELECT e.source_id, a.platform, a.subject_id, p.window_id, p.vintage, p.rights, 0, 0, "
        "CASE WHEN e.kind = 'pool' AND a.kind = 'issued' THEN p.mg ELSE 0 END, "
        "CASE WHEN e.kind = 'retire' AND a.kind = 'retired' THEN p.mg ELSE 0 END FROM journal_entry e "
        "JOIN posting p ON p.entry_id = e.entry_id JOIN account a ON a.account_id = p.account_id "
        "WHERE e.kind IN ('pool', 'retire') AND a.kind IN ('issued', 'retired')"
    )
    for (number,) in books.rows(
        f"SELECT DISTINCT number FROM (SELECT {place} FROM ({shared} UNION ALL {posted}) x GROUP BY {place} "
        "HAVING SUM(shared) <> SUM(issued) OR SUM(used) <> SUM(retired)) y ORDER BY number"
    ):
        yield f"the shares of block {number} are not what its entries moved"
    for account, mg in books.rows(
        "SELECT a.account_id, SUM(p.mg) FROM posting p "
        "JOIN journal_entry e ON e.entry_id = p.entry_id JOIN account a ON a.account_id = p.account_id "
        "WHERE a.kind = 'issued' AND e.kind NOT IN ('pool', 'retire') GROUP BY a.account_id ORDER BY a.account_id"
    ):
        yield f"{int(mg):,} mg of account {account} are issued of no block"


def shares_make_their_roots(books: Books) -> Finding:
    """Compute every share's commitment and every issuance's root anew, and set them against the log.

    The salts of erased people are destroyed, so that their commitments can only be taken as they are.
    """
    wrong, opened = Offenders(), 0
    logged = leaf_bodies(books, "blocks.pooled")
    roots = dict(books.rows("SELECT issuance_id, shares_root FROM credit_issuance"))
    rows = books.rows(
        "SELECT b.issuance_id, b.participant, b.serial, s.offset_mg, s.mg, s.window_id, s.vintage, s.rights, s.salt, "
        f"s.commitment, CASE WHEN s.subject_id IN {ERASED} THEN 1 ELSE 0 END FROM credit_block b "
        "JOIN block_share s ON s.number = b.number ORDER BY b.issuance_id, b.serial, s.line"
    )
    for issuance, group in groupby(rows, key=itemgetter(0)):
        commitments = []
        for _, *told, salt, commitment, is_erased in group:
            commitments.append(bytes(commitment))
            if is_erased:
                if len(bytes(salt)):
                    wrong.add(f"issuance {issuance}: a share of an erased person still has its salt")
                continue
            opened += 1
            payload = "|".join(str(value) for value in told).encode()
            anew = hmac.digest(bytes(salt), b"\x00".join((b"tanlian/commit/v1", b"share", payload)), sha256)
            if anew != bytes(commitment):
                wrong.add(f"issuance {issuance}: a share of serial {told[1]} is not what was committed to")
        if merkle_root(commitments) != bytes(roots.get(issuance, b"")):
            wrong.add(f"issuance {issuance}: its shares make another root")
        body = logged.get(f"{issuance}")
        if body is not None and body.get("shares_root") != bytes(roots.get(issuance, b"")).hex():
            wrong.add(f"issuance {issuance}: the log names another root")
    return Finding(figure=f"{opened:,} shares opened of {len(roots):,} issuances", wrong=wrong)


def income_is_shared(books: Books) -> Finding:
    """Share every income anew: each person gets the whole fen of their part, at most one more, and together all."""
    wrong, total = Offenders(), 0
    parts = "SELECT number, subject_id, CAST(SUM(mg) AS BIGINT) AS mg FROM block_share GROUP BY number, subject_id"
    for income, amount, owed in books.rows(
        "SELECT i.income_id, i.amount_fen, COALESCE(SUM(p.fen), 0) FROM block_income i "
        "LEFT JOIN block_payout p ON p.income_id = i.income_id GROUP BY i.income_id, i.amount_fen ORDER BY i.income_id"
    ):
        total += int(amount)
        if int(owed) != int(amount):
            wrong.add(f"income {income} is of {int(amount):,} fen, and {int(owed):,} are owed")
    for (income,) in books.rows(
        f"SELECT DISTINCT i.income_id FROM block_income i JOIN ({parts}) s ON s.number = i.number "
        "LEFT JOIN block_payout p ON p.income_id = i.income_id AND p.subject_id = s.subject_id "
        "WHERE COALESCE(p.fen, 0) - i.amount_fen * s.mg / :tonne NOT IN (0, 1) ORDER BY i.income_id",
        tonne=TONNE_MG,
    ):
        wrong.add(f"income {income} is not shared by the grams of each person")
    for (income,) in books.rows(
        "SELECT DISTINCT p.income_id FROM block_payout p LEFT JOIN block_income i ON i.income_id = p.income_id "
        "LEFT JOIN block_share s ON s.number = i.number AND s.subject_id = p.subject_id WHERE s.number IS NULL "
        "ORDER BY p.income_id"
    ):
        wrong.add(f"income {income} is owed to somebody whose grams the block is not made of")
    return Finding(figure=f"{total:,} fen of {books.count('block_income'):,} incomes", wrong=wrong)
