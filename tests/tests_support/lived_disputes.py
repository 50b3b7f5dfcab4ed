"""What was disputed in the hub that lived: one is upheld with its adjustment, one goes on, one is of somebody who was erased."""

from datetime import datetime, timedelta

from sqlalchemy import text

from hub.adjustments.kinds import Reason
from hub.context import Hub
from hub.db import writing
from hub.disputes.deciding import Outcome, decide
from hub.disputes.moving import advance, submit
from hub.disputes.opening import open_dispute
from hub.disputes.rules import Adjust, Side, Step, Target
from hub.disputes.staffing import staff_who
from hub.disputes.targets import Asked, Who

CITY = Who(side=Side.PLATFORM, platform="beijing-green-life")


def contest(hub: Hub, people: dict[str, int], now: datetime) -> None:
    """Dispute the newest ride of each: `upheld` loses a part of it, `open` waits, `forgotten` will be erased.

    The member of staff `chen` decides.
    """
    made = {name: _open(hub, subject_id, now) for name, subject_id in people.items()}
    for place, step in enumerate((Step.ACKNOWLEDGED, Step.REVIEWED)):
        with writing(hub.engine) as session:
            if step is Step.REVIEWED:
                submit(session, hub, made["upheld"], CITY, "骑行记录如附", now + timedelta(minutes=1))
            who = staff_who(session, "chen")
            advance(session, hub, made["upheld"], who, step, now + timedelta(minutes=1 + place))
    with writing(hub.engine) as session:
        outcome = Outcome(upheld=True, adjust=Adjust.PARTIAL, mg=100, why="a part was on foot")
        decide(session, hub, made["upheld"], staff_who(session, "chen"), outcome, now + timedelta(minutes=3))


def _open(hub: Hub, subject_id: int, now: datetime) -> str:
    with writing(hub.engine) as session:
        newest = text(
            "SELECT MAX(e.event_id) FROM event e LEFT JOIN event_reversal v ON v.event_id = e.event_id "
            "WHERE e.subject_id = :s AND e.behaviour = 'MOB-BIKE' AND NOT e.provisional AND v.event_id IS NULL"
        )
        event_id = int(session.execute(newest, {"s": subject_id}).scalar_one())
        asked = Asked(target=Target.EVENT, reason=Reason.FACT, text="这段路是走的", event_id=event_id)
        return open_dispute(session, hub, asked, Who(side=Side.PERSON, subject_id=subject_id), now).dispute.dispute_id
