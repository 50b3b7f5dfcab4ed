"""More steps of a machine: what staff do, and what people, platforms and staff dispute. I/O: the hub's database."""

from collections.abc import Callable
from datetime import timedelta

from hypothesis import strategies as st
from sqlalchemy.orm import Session
from tests_support.machine import CHOICES, NUMBERS, PERMILLE, WHY, Done, HubMachine, step
from tests_support.machine_town import FIRST_DAY, OTHER, REVIEWER
from tests_support.restating import NEW, OLD

from hub.adjustments.adjusting import adjust
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.attestations import content as attested
from hub.attestations.issue import issue_own
from hub.clearing.reviews.holds import load_open_holds
from hub.clearing.reviews.reviews import Outcome as Reviewed
from hub.db import reading, writing
from hub.disputes.deciding import Outcome, decide
from hub.disputes.moving import advance, follow_deadlines, withdraw
from hub.disputes.opening import open_dispute
from hub.disputes.rules import Adjust, Side, Step, Target
from hub.disputes.staffing import staff_who
from hub.disputes.tables import Dispute
from hub.disputes.targets import Asked, Who
from hub.records.release import decide_hold
from hub.records.restate import restate
from hub.records.restatement import Restatement

TARGETS = st.sampled_from((Target.EVENT, Target.EVENT, Target.AMOUNT, Target.LINK, Target.RETIREMENT))
SIDES = st.sampled_from((Side.PERSON, Side.PERSON, Side.PLATFORM, Side.OPERATOR))


class StaffedHubMachine(HubMachine):
    """Holds are reviewed, events adjusted, acts restated, totals attested; and what is disputed is locked until it is decided."""

    def __init__(self) -> None:
        super().__init__()
        self.disputes: dict[str, Who] = {}
        self.restated = False

    @step(weight=2, which=CHOICES, outcome=st.sampled_from(Reviewed))
    def a_hold_is_reviewed(self, which: int, outcome: Reviewed) -> None:
        with reading(self.hub.engine) as session:
            holds = load_open_holds(session)["record_id"].to_list()
        if holds:
            record, now = holds[which % len(holds)], self.town.tick()
            self.attempt(str(outcome), lambda: decide_hold(self.hub, record, outcome, by=REVIEWER, why=WHY, now=now))

    @step(
        weight=4,
        which=CHOICES, kind=st.sampled_from([kind for kind in AdjustmentKind if kind is not AdjustmentKind.BUFFER_DRAW]),
        permille=PERMILLE,
    )  # fmt: skip
    def an_event_is_adjusted(self, which: int, kind: AdjustmentKind, permille: int) -> None:
        """All of an event or a part, of whoever's and however far its grams have gone; or it counts for the other platform."""
        events = self._rows("SELECT event_id, mg FROM event ORDER BY event_id")
        event, mg = events[which % len(events)]
        moves, whole = kind is AdjustmentKind.REATTRIBUTION, kind is AdjustmentKind.FULL_REVERSAL
        order = Order(
            kind=kind, reason=Reason.FACT, event_id=event, why=WHY, platform=OTHER if moves else None,
            mg=None if moves or whole else max(1, mg * permille // 1000),
        )  # fmt: skip
        self.attempt(str(kind), lambda: adjust(self.hub, order, by=REVIEWER, now=self.town.tick()))

    @step(number=NUMBERS)
    def a_total_is_attested(self, number: int) -> None:
        asked = attested.Asked(since=FIRST_DAY, until=self.town.now.date(), disclose=("final_mg",))
        subject = self.person(number).subject_id
        self.attempt("attest", lambda: issue_own(self.hub, subject, asked, now=self.town.tick()))

    @step(when=lambda self: not self.restated, after_days=st.integers(0, 5))
    def acts_are_restated(self, after_days: int) -> None:
        """By a methodology that gives half of everything, once."""
        wanted = Restatement(
            old=OLD, new=NEW, why="the factor was twice too high", since=FIRST_DAY + timedelta(days=after_days)
        )
        after = 0
        while (done := restate(self.hub, wanted, after=after, limit=500, now=self.town.tick())) is not None:
            after = done.last
            self.seen["restate"] += done.restated.records
        self.restated = True

    @step()
    def the_log_is_signed(self) -> None:
        self.sequencer.run_once(self.town.tick())

    # --- disputes -------------------------------------------------------------------------------------------------------

    @step(weight=3, number=NUMBERS, which=CHOICES, target=TARGETS, side=SIDES, permille=PERMILLE)
    def a_dispute_is_opened(self, number: int, which: int, target: Target, side: Side, permille: int) -> None:
        """About something that is the person's, or not."""
        subject = self.person(number).subject_id
        asked = self._asked(subject, which, target, permille)

        def begin(session: Session) -> tuple[str, Who]:
            who = self._who(session, side, subject)
            return open_dispute(session, self.hub, asked, who, self.town.tick()).dispute.dispute_id, who

        opened = self._try(f"dispute of {target}", begin)
        if opened is not None:
            self.disputes.setdefault(*opened)

    def _asked(self, subject: int, which: int, target: Target, permille: int) -> Asked:
        if target is Target.LINK:
            links = self._rows("SELECT link_id FROM link WHERE subject_id = :s ORDER BY link_id", s=subject)
            return Asked(target=target, reason=Reason.LINK, text=WHY, link_id=links[which % len(links)][0])
        if target is Target.RETIREMENT:
            uses = list(self.expected.reservations) or ["none"]
            return Asked(target=target, reason=Reason.CONS, text=WHY, reservation_id=uses[which % len(uses)])
        events = self._rows("SELECT event_id, mg FROM event ORDER BY event_id DESC")
        event, mg = events[which % len(events)]
        claimed = None if target is Target.EVENT else max(1, mg * permille // 1000)
        return Asked(target=target, reason=Reason.FACT, text=WHY, event_id=event, claimed_mg=claimed)

    @step(
        weight=4, when=lambda self: self.disputes, which=CHOICES, upheld=st.booleans(), adjust=st.sampled_from(Adjust),
        permille=PERMILLE,
    )  # fmt: skip
    def a_dispute_is_decided(self, which: int, upheld: bool, adjust: Adjust, permille: int) -> None:
        """Taken into review if it is not there yet, and upheld or rejected."""
        dispute = sorted(self.disputes)[which % len(self.disputes)]
        self._try("review", lambda session: self._advance(session, dispute))
        part = 50 * permille if upheld and adjust is Adjust.PARTIAL else None
        outcome = Outcome(upheld=upheld, adjust=adjust, mg=part, why=WHY)
        self._try(
            f"dispute upheld {adjust}" if upheld else "dispute rejected",
            lambda session: decide(session, self.hub, dispute, staff_who(session, REVIEWER), outcome, self.town.tick()),
        )

    @step(when=lambda self: self.disputes, which=CHOICES)
    def a_dispute_is_withdrawn(self, which: int) -> None:
        dispute = sorted(self.disputes)[which % len(self.disputes)]
        who = self.disputes[dispute]
        self._try("dispute withdrawn", lambda session: withdraw(session, dispute, who, self.town.tick()))

    @step(when=lambda self: self.disputes)
    def deadlines_pass(self) -> None:
        """What had time for evidence goes into review."""
        with writing(self.hub.engine) as session:
            self.seen["deadlines"] += follow_deadlines(session, self.town.tick())

    def _advance(self, session: Session, dispute: str) -> Dispute:
        who = staff_who(session, REVIEWER)
        return advance(session, self.hub, dispute, who, Step.REVIEWED, self.town.tick())

    def _who(self, session: Session, side: Side, subject_id: int) -> Who:
        if side is Side.PERSON:
            return Who(side=side, subject_id=subject_id)
        return Who(side=side, platform=OTHER) if side is Side.PLATFORM else staff_who(session, REVIEWER)

    def _try(self, what: str, work: Callable[[Session], Done]) -> Done | None:
        def one() -> Done:
            with writing(self.hub.engine) as session:
                return work(session)

        return self.attempt(what, one)
