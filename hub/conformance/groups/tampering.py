"""Messages that somebody changed, forged, kept back or sent to another door. Pure, but for the rig."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from connectors.base import Delivery
from hub.conformance.cases import CaseList, Group, NotApplicable, is_pushed, is_receiver, require
from hub.conformance.groups.messages import (
    armed,
    changed_digits,
    delivery_of,
    flip,
    genuine,
    other_message,
    own_headers,
    places_in,
    require_refused,
    require_untaken,
    with_header,
)
from hub.conformance.observed import Taken
from hub.conformance.rig import Rig, mutated
from hub.sandbox.platforms.faults import Fault

CASES: CaseList[Rig] = CaseList(Group.PUSH, is_receiver)
_case = CASES.case
_FAR = (timedelta(hours=1), timedelta(days=1), timedelta(days=366))


@_case("PUSH-20", "A body that was changed anywhere brings no other row", applies=is_pushed)
def notices_a_changed_body(rig: Rig) -> None:
    taken = genuine(rig)[0]
    body = taken.request.body
    for at in places_in(body):
        require_untaken(rig, mutated(taken.request, body=flip(body, at)), taken, "A message changed on its way")


@_case("PUSH-21", "A figure that was changed in a row is not believed")
def notices_a_changed_figure(rig: Rig) -> None:
    taken = genuine(rig)[0]
    bodies = list(changed_digits(taken))
    if not bodies:
        raise NotApplicable("The rows do not stand in the message as they are handed on.")
    for body in bodies:
        require_refused(rig, mutated(taken.request, body=body), taken, "A message with a changed figure")


@_case("PUSH-22", "A body that was cut brings no other row", applies=is_pushed)
def notices_a_cut_body(rig: Rig) -> None:
    taken = genuine(rig)[0]
    body = taken.request.body
    for end in (len(body) - 1, len(body) * 2 // 3, len(body) // 2, 1):
        require_untaken(rig, mutated(taken.request, body=body[:end]), taken, "A message that was cut")


@_case("PUSH-23", "What is added to a body brings no other row", applies=is_pushed)
def notices_additions(rig: Rig) -> None:
    taken = genuine(rig)[0]
    body = taken.request.body
    for more in (body + b"x", body + b"\x00", b"\xef\xbb\xbf" + body, body + body, b" " + body):
        require_untaken(rig, mutated(taken.request, body=more), taken, "A message that something was added to")


@_case("PUSH-24", "A header of the message that is missing brings no other row")
def notices_missing_headers(rig: Rig) -> None:
    taken = _with_headers(rig)
    for name in own_headers(taken.request):
        require_untaken(rig, with_header(taken.request, name, None), taken, f"A message without {name}")


@_case("PUSH-25", "A header of the message that was changed brings no other delivery")
def notices_changed_headers(rig: Rig) -> None:
    taken = _with_headers(rig)
    for name in own_headers(taken.request):
        value = taken.request.headers[name]
        for other in (value + "0", value[:-1], "", value[::-1], "é", "x" * 5000):
            require_untaken(rig, with_header(taken.request, name, other), taken, f"A message with another {name}")


@_case("PUSH-26", "A message without any of its headers brings no other row")
def notices_bare_messages(rig: Rig) -> None:
    taken = _with_headers(rig)
    bare = mutated(taken.request, headers={"content-type": taken.request.headers.get("content-type", "")})
    require_untaken(rig, bare, taken, "A message without its headers")


@_case("PUSH-27", "The headers of one message do not carry the body of another")
def notices_swapped_bodies(rig: Rig) -> None:
    first, other = other_message(rig)
    mixed = mutated(first.request, body=other.request.body)
    answer = rig.receive(mixed, now=first.at)
    if isinstance(answer, Delivery):
        require(answer == other.answer, "A body goes in under the name of another message.")


@_case("PUSH-28", "A message that somebody else has signed is refused")
def refuses_foreign_signatures(rig: Rig) -> None:
    _require_spoilt_is_refused(rig, Fault.WRONG_SIGNATURE)


@_case("PUSH-29", "A message that was changed after it was signed is refused")
def refuses_tampered_messages(rig: Rig) -> None:
    _require_spoilt_is_refused(rig, Fault.TAMPERED)


@_case("PUSH-30", "A message that was made for another application is refused")
def refuses_another_application(rig: Rig) -> None:
    _require_spoilt_is_refused(rig, Fault.WRONG_APPID)


@_case("PUSH-31", "A message within the tolerance of clocks is taken")
def tolerates_clocks(rig: Rig) -> None:
    taken = genuine(rig)[0]
    for skew in (timedelta(seconds=-20), timedelta(seconds=20)):
        answer = rig.receive(taken.request, now=taken.at + skew)
        require(isinstance(answer, Delivery), "A message is refused because clocks differ by twenty seconds.")


@_case("PUSH-32", "An old message is refused, or recognised for what it was")
def refuses_old_messages(rig: Rig) -> None:
    taken = genuine(rig)[0]
    _require_refused_or_recognised(rig, taken, [taken.at + far for far in _FAR])


@_case("PUSH-33", "A message from the future is refused, or recognised for what it was")
def refuses_future_messages(rig: Rig) -> None:
    taken = genuine(rig)[0]
    _require_refused_or_recognised(rig, taken, [taken.at - far for far in _FAR])


@_case("PUSH-34", "What is not posted is not taken")
def refuses_other_methods(rig: Rig) -> None:
    taken = genuine(rig)[0]
    own = taken.request.method
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "post", ""):
        if method != own:
            require_refused(
                rig, mutated(taken.request, method=method), taken, f"A message sent with {method or 'no method'}"
            )


@_case("PUSH-35", "A path that nobody offers brings no other row")
def refuses_other_paths(rig: Rig) -> None:
    taken = genuine(rig)[0]
    own = taken.request.path
    for path in ("/", "//", "/other", own + "/x", "/../.." + own, "/../../etc/passwd", "/" + "a" * 5000, "/\x00"):
        require_untaken(rig, mutated(taken.request, path=path), taken, "A message at another path")


@_case("PUSH-36", "What is added to the address brings no other row")
def ignores_the_query(rig: Rig) -> None:
    taken = genuine(rig)[0]
    for query in ({"x": "1"}, {"a" * 3000: "b" * 3000}, {"\x00": "é"}):
        changed = mutated(taken.request, query={**taken.request.query, **query})
        require_untaken(rig, changed, taken, "A message with another query")


@_case("PUSH-37", "A parameter of the address that belongs to the message cannot be changed")
def notices_changed_queries(rig: Rig) -> None:
    taken = genuine(rig)[0]
    if not taken.request.query:
        raise NotApplicable("The format puts nothing into the address.")
    for name, value in taken.request.query.items():
        rest = {other: text for other, text in taken.request.query.items() if other != name}
        for query in (rest, {**rest, name: value + "0"}, {**rest, name: ""}):
            require_untaken(rig, mutated(taken.request, query=query), taken, f"A message with another {name}")


def _with_headers(rig: Rig) -> Taken:
    taken = genuine(rig)[0]
    if not own_headers(taken.request):
        raise NotApplicable("The format puts nothing into headers.")
    return taken


def _require_spoilt_is_refused(rig: Rig, fault: Fault) -> None:
    posted = armed(rig, fault)
    taken = {one.request.body for one in posted if isinstance(one.answer, Delivery)}
    refused = [one for one in posted if not isinstance(one.answer, Delivery) and one.request.body not in taken]
    require(refused, f"A message with a fault ({fault.value}) is taken like any other; it must be refused.")


def _require_refused_or_recognised(rig: Rig, taken: Taken, moments: Sequence[datetime]) -> None:
    """A format with times refuses at every distance; one without recognises the message, so that it counts once."""
    answers = [rig.receive(taken.request, now=moment) for moment in moments]
    for answer in answers:
        if isinstance(answer, Delivery):
            require(answer.delivery_id == delivery_of(taken).delivery_id, "A message of another time gets another id.")
            require(answer.rows == delivery_of(taken).rows, "A message of another time brings other rows.")
    first, last = (isinstance(answer, Delivery) for answer in (answers[0], answers[-1]))
    require(last or not first, "A message is good for an hour and not for a year: no clock is wrong by an hour.")
