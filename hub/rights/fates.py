"""What becomes of every table that names a person when that person is erased. Pure.

One line a table, shown to the person before they confirm and followed by `erase.py`; a test keeps it complete: a table
with a subject that is not named here cannot be added. ADR 0014.
"""

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What happens to the rows of a person."""

    DELETED = "deleted"
    EMPTIED = "emptied"  # the row stays and says nothing about anybody any more
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One table: what the person may know it as, what becomes of it, and why."""

    table: str
    what: str
    fate: Fate
    why: str


HOLDINGS = (
    Holding(table="person", what="your name, password, birth date and the key of your data", fate=Fate.EMPTIED,
            why="the row stays under a random number, because ledger entries need an owner; without the key, whatever it "
            "sealed cannot be read by anybody"),
    Holding(table="link", what="your accounts at platforms and the tokens for them", fate=Fate.EMPTIED,
            why="closed; which account it was is destroyed, so you may link it again later"),
    Holding(table="source_record", what="what platforms reported about you", fate=Fate.EMPTIED,
            why="the content is destroyed; the empty row keeps the count of what was received true"),
    Holding(table="reduction_record", what="your acts in the common form", fate=Fate.EMPTIED,
            why="times are cut down to the day, order numbers are destroyed, and places but for a province or city whose own "
            "figure an amount rests on; behaviour and amount stay, because totals were published from them"),
    Holding(table="event", what="your acts as they were counted", fate=Fate.EMPTIED,
            why="times are cut down to the day; the amount stays, because the ledger rests on it"),
    Holding(table="decision", what="why a report counted or did not", fate=Fate.KEPT,
            why="final windows have published a digest over all decisions; nothing in them says whose they are"),
    Holding(table="hold_review", what="what a reviewer decided about acts of yours that were held", fate=Fate.EMPTIED,
            why="that it was decided, when and how stays, because the log names it; what the reviewer wrote is destroyed"),
    Holding(table="adjustment", what="what was taken back of acts of yours, or moved to another platform", fate=Fate.EMPTIED,
            why="that it was done, when and how much stays, because the ledger and the log name it; what was written is "
            "destroyed"),
    Holding(table="dispute", what="disputes about your acts, accounts and uses", fate=Fate.EMPTIED,
            why="withdrawn if open; that there was one, about what, and how it ended stays, because adjustments name it"),
    Holding(table="dispute_evidence", what="what you and others wrote in disputes", fate=Fate.EMPTIED,
            why="destroyed; that something was written, when and by which side stays"),
    Holding(table="account", what="your balances", fate=Fate.KEPT,
            why="ledger entries are never edited; what you hold is forfeited by an entry of its own and nobody can use it"),
    Holding(table="reservation", what="what platforms reserved and used of your grams", fate=Fate.KEPT,
            why="a gram is used once, and the platform's books rest on it; nothing in it says a name"),
    Holding(table="block_share", what="grams of yours in tonnes that a market pooled", fate=Fate.EMPTIED,
            why="a tonne stays a tonne, and the shares together are it; the salt is destroyed with which it could be shown that "
            "a share was yours"),
    Holding(table="block_payout", what="what is owed to you of the income of such tonnes", fate=Fate.KEPT,
            why="an income is shared to the fen, and the market's books rest on it; nothing in it says a name"),
    Holding(table="debt", what="grams of yours that a platform owes, because its report was wrong", fate=Fate.KEPT,
            why="the platform owes them still; nothing in it says a name"),
    Holding(table="grant_version", what="what you allowed, and that you withdrew it", fate=Fate.KEPT,
            why="withdrawn; that there was a consent has to be shown for three years, and it says no name"),
    Holding(table="grant_current", what="what you allowed, as it is asked for at every act", fate=Fate.KEPT,
            why="it says from now on that nothing is allowed"),
    Holding(table="disclosure", what="to whom something of yours was shown, and when", fate=Fate.KEPT,
            why="never what was shown; that it was shown has to be provable for three years, and it says no name"),
    Holding(table="receipt", what="the receipts of your consents", fate=Fate.EMPTIED,
            why="your receipts cannot be read here any more; their digest stays, because a leaf of the log names it"),
    Holding(table="attestation", what="statements of your total that you had made, or allowed others to have made",
            fate=Fate.EMPTIED,
            why="revoked, so that whoever has one and asks is told that it is over; what they said is destroyed here, and the "
            "place in the public list stays taken"),
    Holding(table="programme_membership", what="programmes that you joined and left", fate=Fate.EMPTIED,
            why="you leave all of them; the row stays without you, so that no number of members changes by your going"),
    Holding(table="dirty_subject", what="a note that your acts are to be decided anew", fate=Fate.KEPT,
            why="it is gone when that is done, within seconds"),
    Holding(table="passkey", what="your passkeys", fate=Fate.DELETED, why=""),
    Holding(table="web_session", what="your sign-ins", fate=Fate.DELETED, why=""),
    Holding(table="access_token", what="tokens that let others read or use your account", fate=Fate.DELETED, why=""),
    Holding(table="refresh_token", what="tokens that renew those", fate=Fate.DELETED, why=""),
    Holding(table="authorization_code", what="authorizations under way", fate=Fate.DELETED, why=""),
    Holding(table="link_attempt", what="linkings under way", fate=Fate.DELETED, why=""),
    Holding(table="guardian_request", what="what was asked of your guardian for you, and the answers", fate=Fate.DELETED,
            why=""),
)  # fmt: skip

# What stays and has no person in it at all; for the page that explains it.
BESIDES = (
    ("a keyed mark of every report about you",
     "so that the same reports, sent again for somebody new, do not count a second time; nothing leads from it to you"),
    ("a keyed mark of every act of yours that counted in a final window",
     "published without your name, so that anybody can see that no act counts twice; nothing leads from it to you"),
    ("the public log", "it never held anything about you; a leaf says that somebody was erased, not who"),
)  # fmt: skip


def tables_of(fate: Fate) -> tuple[str, ...]:
    """Return the tables of one fate."""
    return tuple(holding.table for holding in HOLDINGS if holding.fate is fate)
