"""What the cases of messages share: a platform's own messages, and how to spoil one. Pure, but for the rig."""

import re
from collections.abc import Iterator

from connectors.base import Delivery, Inbound, Outcome, Reply
from hub.conformance.cases import NotApplicable, Violation, require
from hub.conformance.observed import Taken
from hub.conformance.rig import Rig, mutated
from hub.sandbox.platforms.faults import Fault

# Every client sends these; no format makes them part of a message.
_OF_THE_CLIENT = {
    "host", "content-length", "content-type", "user-agent", "accept", "accept-encoding", "connection",
    "transfer-encoding",
}  # fmt: skip
_DIGIT = re.compile(rb"[0-9]")


def genuine(rig: Rig) -> list[Taken]:
    """Let the platform post its first parts; returns the messages that became deliveries with rows.

    From then on the platform answers a question about a message again as it did: a code that is good once can be shown
    as often as the cases need it.
    """
    rig.wire.remember()
    for part in range(1, rig.town.parts + 1):
        rig.deliver(part)
        found = [one for one in rig.messages() if _delivery(one).rows]
        if len(found) >= 2:
            return found
    found = [one for one in rig.messages() if _delivery(one).rows]
    require(found, "None of the platform's own messages brought a row.")
    return found


def other_message(rig: Rig) -> tuple[Taken, Taken]:
    """Return two genuine messages that are not the same."""
    messages = genuine(rig)
    for other in messages[1:]:
        if other.request.body != messages[0].request.body:
            return messages[0], other
    raise NotApplicable("The platform has only one message to tell.")


def delivery_of(taken: Taken) -> Delivery:
    return _delivery(taken)


def own_headers(request: Inbound) -> list[str]:
    """The headers that belong to the format and not to whoever carries the message."""
    return [name for name in request.headers if name not in _OF_THE_CLIENT]


def with_header(request: Inbound, name: str, value: str | None) -> Inbound:
    headers = {other: text for other, text in request.headers.items() if other != name}
    return mutated(request, headers=headers if value is None else {**headers, name: value})


def require_untaken(rig: Rig, request: Inbound, taken: Taken, what: str) -> None:
    """Raise if a spoilt message brings anything that the genuine one did not."""
    answer, true = rig.receive(request, now=taken.at), _delivery(taken)
    if not isinstance(answer, Delivery):
        return
    require(answer.rows == true.rows, f"{what} is taken, with other rows than were sent.")
    require(answer.delivery_id == true.delivery_id, f"{what} is taken as another message: replays would count twice.")


def require_refused(rig: Rig, request: Inbound, taken: Taken, what: str) -> None:
    answer = rig.receive(request, now=taken.at)
    require(not isinstance(answer, Delivery), f"{what} is taken; it must be refused.")
    if isinstance(answer, Reply):
        require(answer.body != accepted_reply(rig, taken), f"{what} is answered as if it were taken.")


def accepted_reply(rig: Rig, taken: Taken) -> bytes:
    delivery = _delivery(taken)
    return rig.acknowledge(delivery, Outcome(accepted=len(delivery.rows))).body


def places_in(body: bytes) -> Iterator[int]:
    """Yield places all over a body: the ends, and steps between."""
    if not body:
        return
    step = max(1, len(body) // 12)
    yield from dict.fromkeys([0, *range(step, len(body), step), len(body) - 1])


def flip(body: bytes, at: int) -> bytes:
    """Change one bit, and never only the case of a letter."""
    return body[:at] + bytes([body[at] ^ 0x01]) + body[at + 1 :]


def changed_digits(taken: Taken) -> Iterator[bytes]:
    """Yield the body with one digit inside a row changed, where the rows stand in it as they are."""
    body = taken.request.body
    for row in _delivery(taken).rows[:3]:
        start = body.find(row)
        for match in list(_DIGIT.finditer(row))[:4] if start >= 0 else []:
            at = start + match.start()
            yield body[:at] + str((int(match.group()) + 1) % 10).encode() + body[at + 1 :]


def armed(rig: Rig, fault: Fault) -> list[Taken]:
    """Let the simulator misbehave once and tell its first parts; returns what was posted meanwhile."""
    rig.faults.arm(fault)
    for part in range(1, rig.town.parts + 1):
        rig.deliver(part)
        if fault.value not in rig.faults.armed():
            return rig.taken
    raise NotApplicable(f"The simulator cannot misbehave like this ({fault.value}).")


def _delivery(taken: Taken) -> Delivery:
    if not isinstance(taken.answer, Delivery):
        raise Violation("A message that was taken before is none now.")
    return taken.answer
