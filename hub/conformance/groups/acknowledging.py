"""Messages that are well: taken, recognised, answered. Pure, but for the rig."""

import json
from datetime import timedelta

from connectors.base import Delivery, Outcome, Reply
from hub.conformance.cases import CaseList, Group, NotApplicable, is_receiver, require
from hub.conformance.groups.messages import delivery_of, genuine, other_message
from hub.conformance.rig import Rig
from hub.sandbox.platforms.faults import Fault

CASES: CaseList[Rig] = CaseList(Group.PUSH, is_receiver)
_case = CASES.case


@_case("PUSH-01", "Everything that the platform posts in a month arrives, row by row")
def takes_everything(rig: Rig) -> None:
    deliveries = rig.deliveries()
    expected = {row.source_id for row in rig.told if row.trouble is None}
    found = rig.ids([row for delivery in deliveries for row in delivery.rows])
    require(expected <= found, f"{len(expected - found)} of {len(expected)} records were posted and did not arrive.")


@_case("PUSH-02", "No record arrives that the platform did not post")
def invents_nothing(rig: Rig) -> None:
    rows = [row for delivery in rig.deliveries() for row in delivery.rows]
    invented = rig.ids(rows) - {row.source_id for row in rig.told}
    require(not invented, f"{len(invented)} records arrived that the platform did not post.")


@_case("PUSH-03", "A message that comes again is the same delivery, to the bit")
def recognises_a_message(rig: Rig) -> None:
    for taken in genuine(rig)[:5]:
        again = rig.receive(taken.request, now=taken.at)
        require(
            isinstance(again, Delivery), "A message that comes again is refused; platforms repeat what went unanswered."
        )
        require(again == taken.answer, "A message that comes again is another delivery.")


@_case("PUSH-04", "A message that comes again five seconds later is the same delivery")
def recognises_a_message_later(rig: Rig) -> None:
    for taken in genuine(rig)[:5]:
        again = rig.receive(taken.request, now=taken.at + timedelta(seconds=5))
        require(isinstance(again, Delivery), "A message that comes again after five seconds is refused.")
        require(again == taken.answer, "The delivery depends on when the message is read.")


@_case("PUSH-05", "Two messages are two deliveries")
def tells_messages_apart(rig: Rig) -> None:
    first, other = other_message(rig)
    one, two = delivery_of(first), delivery_of(other)
    require(one.delivery_id != two.delivery_id, "Two messages have one id; the second would be taken for a replay.")
    require(one.digest != two.digest, "Two messages have one digest.")


@_case("PUSH-06", "Messages are understood in whatever order they come")
def needs_no_order(rig: Rig) -> None:
    messages = genuine(rig)
    rig.connector = rig.connect()
    for taken in reversed(messages):
        answer = rig.receive(taken.request, now=taken.at)
        require(answer == taken.answer, "A message is understood differently when it comes before another.")


@_case("PUSH-07", "What the platform posts twice brings no record that it did not post once")
def survives_doubled_messages(rig: Rig) -> None:
    rig.faults.arm(Fault.DUPLICATES, 1000)
    rows = [row for delivery in rig.deliveries() for row in delivery.rows]
    if rig.faults.armed().get(Fault.DUPLICATES) == 1000:
        raise NotApplicable("The simulator cannot post twice.")
    require(rig.ids(rows) <= {row.source_id for row in rig.told}, "A message that is posted twice brings new records.")


@_case("PUSH-08", "The platform is told when its rows were taken")
def answers_accepted(rig: Rig) -> None:
    delivery = delivery_of(genuine(rig)[0])
    reply = rig.acknowledge(delivery, Outcome(accepted=len(delivery.rows)))
    require(200 <= reply.status < 300, f"Rows that were taken are answered with {reply.status}.")


@_case("PUSH-09", "The platform is answered when its rows were known already, as if it were the first time")
def answers_replayed(rig: Rig) -> None:
    delivery = delivery_of(genuine(rig)[0])
    reply = rig.acknowledge(delivery, Outcome(replayed=len(delivery.rows)))
    require(
        200 <= reply.status < 300, f"A replay is answered with {reply.status}; the platform would send it for ever."
    )


@_case("PUSH-10", "The platform is answered when its rows were refused")
def answers_refused(rig: Rig) -> None:
    delivery = delivery_of(genuine(rig)[0])
    reply = rig.acknowledge(delivery, Outcome(refused=len(delivery.rows)))
    require(reply.status < 500, "Refused rows are answered like an accident of ours; they would come for ever.")


@_case("PUSH-11", "The platform is answered when its rows were set aside")
def answers_quarantined(rig: Rig) -> None:
    delivery = delivery_of(genuine(rig)[0])
    reply = rig.acknowledge(delivery, Outcome(quarantined=len(delivery.rows)))
    require(
        reply.status < 500, "Rows that were set aside are answered like an accident of ours; they would come for ever."
    )


@_case("PUSH-12", "The answer is in the form that it says it has")
def answers_in_form(rig: Rig) -> None:
    delivery = delivery_of(genuine(rig)[0])
    outcomes = [Outcome(), Outcome(accepted=1), Outcome(refused=1), Outcome(replayed=1), Outcome(quarantined=1)]
    for reply in (rig.acknowledge(delivery, outcome) for outcome in outcomes):
        kind = {name.lower(): value for name, value in reply.headers.items()}.get("content-type", "")
        require("json" not in kind or _is_json(reply), "The answer says that it is JSON, and is none.")


@_case("PUSH-13", "The answer does not say whose the rows are")
def answers_without_accounts(rig: Rig) -> None:
    delivery = delivery_of(genuine(rig)[0])
    body = rig.acknowledge(delivery, Outcome(accepted=len(delivery.rows))).body.decode("utf-8", "replace")
    accounts = {row.account for row in rig.told if len(row.account) >= 6}
    require(not any(account in body for account in accounts), "The answer repeats an account of a person.")


@_case("PUSH-14", "A delivery's id is short enough to be stored and holds nobody's account")
def has_an_id(rig: Rig) -> None:
    accounts = {row.account for row in rig.told if len(row.account) >= 6}
    for delivery in map(delivery_of, genuine(rig)):
        require(0 < len(delivery.delivery_id) <= 200, "A delivery's id cannot be stored.")
        require(not any(one in delivery.delivery_id for one in accounts), "A delivery's id names a person's account.")


def _is_json(reply: Reply) -> bool:
    try:
        json.loads(reply.body)
    except ValueError:
        return False
    return True
