"""What a machine expects of the hub, in plain Python, and what it reads of the books after each step. I/O: reads the database.

The model knows what was told, what was used and what may still be; it never decides which of two reports counts. What the
hub did is held against it: no act counts more than it was ever told as, nothing is used but what was, and the books agree.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session
from tests_support.machine_town import CHINA, FIRST_DAY, Person, Told

from connectors.base import Delivery
from hub.context import Hub
from hub.db import reading
from hub.ledger.store import KEPT
from standards.uses import Rights, Use

HALVES = (Rights.INCENTIVE, Rights.ATTRIBUTE)
USED = {Use.REDEEM: "redeemed", Use.TRANSFER: "transferred", Use.RETIRE: "retired"}
BELOW_ZERO = frozenset({"activity", "owed"})

Place = tuple[int, int, int, str]
"""Account, window, vintage, rights."""


@dataclass(slots=True, kw_only=True)
class Reserved:
    """A reservation as the shop knows it; `takes` are the halves of a gram that it is about."""

    person: int
    subject_id: int
    grant_id: str
    participant: str
    use: Use
    takes: frozenset[Rights]
    mg: int
    expires_at: datetime
    used_mg: int = 0
    open: bool = True


@dataclass(slots=True)
class Expected:
    """What was told and done, and so what may be."""

    told: list[tuple[str, list[Told], Delivery]] = field(default_factory=list)
    most: dict[tuple[int, int], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Day and hour of an act -> person whose account was named -> milligrams at most."""
    versions: Counter[tuple[str, int, int, int, str]] = field(default_factory=Counter)
    kept: set[Told] = field(default_factory=set)
    """What was surely stored once, and so is never stored again."""
    reservations: dict[str, Reserved] = field(default_factory=dict)
    delivered: Counter[str] = field(default_factory=Counter)
    """Platform -> milligrams of its pool that paid what it owed."""
    windows: dict[int, str] = field(default_factory=lambda: {1: "open"})
    roots: dict[int, bytes] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    """People who were erased."""

    def note(self, platform: str, rows: list[Told], message: Delivery, accepted: int) -> None:
        """Remember what was told, whatever became of it."""
        self.told.append((platform, rows, message))
        if accepted == len(rows):
            self.kept.update(rows)
        for row in rows:
            self.versions[row.source] = max(self.versions[row.source], row.version)
            place = self.most[row.day, row.hour]
            place[row.person] = max(place[row.person], row.most_mg)

    def rows(self) -> list[Told]:
        return [row for _, rows, _ in self.told for row in rows]

    def open_now(self) -> list[str]:
        return [name for name, one in self.reservations.items() if one.open]

    def expire(self, now: datetime) -> int:
        """Close what has run out; returns how many there were."""
        due = [one for one in self.reservations.values() if one.open and one.expires_at <= now]
        for one in due:
            one.open = False
        return len(due)

    def in_states(self, *states: str) -> list[int]:
        return [number for number, state in self.windows.items() if state in states]


@dataclass(slots=True)
class Account:
    kind: str
    subject_id: int | None
    platform: str | None


class Books:
    """The sums of all postings, read on from where they were read to: a posting that is there never changes."""

    def __init__(self) -> None:
        self.last_entry = 0
        self.accounts: dict[int, Account] = {}
        self.sums: Counter[Place] = Counter()

    def require(self, hub: Hub, expected: Expected, people: list[Person]) -> None:
        """Read on, and hold everything against everything. Raises AssertionError."""
        with reading(hub.engine) as session:
            self._read_on(session)
            self._require_kept(session)
            self._require_acts(session, expected, people)
            self._require_windows(session, expected)
        self._require_uses(expected)

    def total(self, half: Rights, *kinds: str, subject_id: int | None = None, platform: str | None = None) -> int:
        """Add up one half of the grams of some kinds of accounts, of everybody or of one owner."""
        found = 0
        for (account_id, _, _, rights), mg in self.sums.items():
            account = self.accounts[account_id]
            if (
                rights in (Rights.BOTH, half)
                and account.kind in kinds
                and subject_id in (None, account.subject_id)
                and platform in (None, account.platform)
            ):
                found += mg
        return found

    def _read_on(self, session: Session) -> None:
        rows = session.execute(
            text(
                "SELECT p.entry_id, p.account_id, p.window_id, p.vintage, p.rights, p.mg FROM posting p "
                "WHERE p.entry_id > :last ORDER BY p.entry_id, p.line"
            ),
            {"last": self.last_entry},
        ).all()
        if not rows:
            return
        owners = session.execute(text("SELECT account_id, kind, subject_id, platform FROM account"))
        self.accounts = {number: Account(kind, subject, platform) for number, kind, subject, platform in owners}
        entries: dict[Rights, Counter[int]] = {half: Counter() for half in HALVES}
        for entry, account, window, vintage, rights, mg in rows:
            assert account in self.accounts
            self.sums[account, window, vintage, rights] += mg
            for half in HALVES:
                entries[half][entry] += mg if rights in (Rights.BOTH, half) else 0
        self.last_entry = rows[-1][0]
        for half in HALVES:
            assert {entry: mg for entry, mg in entries[half].items() if mg} == {}, f"entries do not sum to zero: {half}"
        below = {place: mg for place, mg in self.sums.items() if mg < 0}
        assert {self.accounts[place[0]].kind for place in below} <= BELOW_ZERO, f"below zero: {below}"

    def _require_kept(self, session: Session) -> None:
        """The balances that the database keeps are those that were posted."""
        kept = session.execute(text("SELECT account_id, window_id, vintage, rights, mg FROM balance"))
        told = {(account, window, vintage, rights): mg for account, window, vintage, rights, mg in kept if mg}
        posted = {place: mg for place, mg in self.sums.items() if mg and self.accounts[place[0]].kind in KEPT}
        assert told == posted, "kept balances are not what was posted"

    def _require_acts(self, session: Session, expected: Expected, people: list[Person]) -> None:
        """Each half of what people have and had is what their acts were credited with; no act counts beyond what was told."""
        acts = session.execute(text(_ACTS), {"no": False}).all()
        credited = sum(mg - taken for _, _, mg, taken, issued in acts if issued)
        owed = dict.fromkeys(HALVES, 0)
        for rights, mg in session.execute(
            text("SELECT rights, CAST(SUM(left_mg) AS BIGINT) FROM debt GROUP BY rights")
        ):
            for half in HALVES:
                owed[half] += mg if rights in (Rights.BOTH, half) else 0
        everywhere = {account.kind for account in self.accounts.values()} - BELOW_ZERO
        for half in HALVES:
            have = self.total(half, *everywhere)
            assert have == credited + owed[half], (
                f"people have {have} of {half}, acts gave {credited}, {owed[half]} is owed"
            )
            assert self.total(half, "owed") == -owed[half]
        numbers = {person.subject_id: person.number for person in people}
        once = Counter[tuple[int, int, int]]()
        for subject, start_us, mg, _, _ in acts:
            if subject in expected.gone or not mg:
                continue
            at = datetime.fromtimestamp(start_us // 1_000_000, CHINA)
            place = ((at.date() - FIRST_DAY).days, at.hour)
            once[subject, *place] += 1
            most = expected.most[place][numbers[subject]]
            assert mg <= most, f"an act counts {mg} mg and was told as {most} mg at most"
        twice = {place: count for place, count in once.items() if count > 1}
        assert twice == {}, f"acts of one person at one time count apart: {twice}"

    def _require_windows(self, session: Session, expected: Expected) -> None:
        found = session.execute(text("SELECT window_id, state, root FROM clearing_window ORDER BY window_id")).all()
        states = {number: state for number, state, _ in found}
        cleared = {number: "sealed" if state == "cleared" else state for number, state in expected.windows.items()}
        assert states == cleared
        assert {number: bytes(root) for number, _, root in found if root is not None} == expected.roots

    def _require_uses(self, expected: Expected) -> None:
        """What is reserved and used is what the shop did, each half by itself; nothing of the erased is open."""
        wanted: dict[tuple[Rights, str, int | None, str | None], int] = Counter()
        for one in expected.reservations.values():
            for half in one.takes:
                if one.open:
                    wanted[half, "reserved", one.subject_id, None] += one.mg
                whose = (None if one.use is Use.TRANSFER else one.subject_id, one.participant)
                wanted[half, USED[one.use], *whose] += one.used_mg
        for platform, mg in expected.delivered.items():
            for half in HALVES:
                wanted[half, "transferred", None, platform] -= mg
        found: dict[tuple[Rights, str, int | None, str | None], int] = Counter()
        for (account_id, _, _, rights), mg in self.sums.items():
            account = self.accounts[account_id]
            if account.kind in ("reserved", *USED.values()):
                whose = None if account.kind == "transferred" else account.subject_id
                for half in HALVES:
                    found[half, account.kind, whose, account.platform] += mg if rights in (Rights.BOTH, half) else 0
        assert {place: mg for place, mg in found.items() if mg} == {place: mg for place, mg in wanted.items() if mg}
        for subject_id in expected.gone:
            for half in HALVES:
                left = self.total(half, "pending", "held", "reserved", "locked", subject_id=subject_id)
                assert left == 0, f"somebody was erased and has {left} mg"


_ACTS = (
    "SELECT e.subject_id, e.start_us, e.mg, COALESCE(j.taken_mg, 0), EXISTS (SELECT 1 FROM journal_entry i "
    "WHERE i.kind = 'issue' AND i.window_id = e.window_id AND i.source_id = e.event_id) FROM event e "
    "LEFT JOIN event_reversal v ON v.event_id = e.event_id LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
    "WHERE e.provisional = :no AND v.event_id IS NULL"
)
