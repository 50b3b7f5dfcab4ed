"""Messages that are badly made: the body as a whole, and single rows in messages that are signed. Pure, but for the rig."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from connectors.base import ConnectorError, Delivery, Reply
from hub.conformance.cases import CaseList, Group, NotApplicable, is_receiver, require
from hub.conformance.groups.messages import genuine, require_untaken
from hub.conformance.rig import Rig, mutated
from hub.sandbox.reports import Note, Report

CASES: CaseList[Rig] = CaseList(Group.PUSH, is_receiver)
_case = CASES.case
_DEEP = 100_000
_ODD: tuple[object, ...] = (None, True, -1, 10**400, 1.5, "", "\x00", "é" * 2000, [], {}, [[]], {"a": {}})
_BODIES: Sequence[tuple[str, str, bytes]] = (
    ("PUSH-40", "An empty body is refused", b""),
    ("PUSH-41", "Garbage is refused", bytes(range(256)) * 8),
    ("PUSH-42", "Text that is not UTF-8 is refused", b'{"records":[{"a":"\xff\xfe\xc3"}]}'),
    ("PUSH-43", "JSON of another shape is refused", b"[]"),
    ("PUSH-44", "The word null is refused", b"null"),
    ("PUSH-45", "Arrays in arrays without end are refused", b"[" * _DEEP + b"]" * _DEEP),
    ("PUSH-46", "Objects in objects without end are refused", b'{"records":' * _DEEP + b"1" + b"}" * _DEEP),
    ("PUSH-47", "A name that stands twice is refused", b'{"records":[],"records":[{"a":1}]}'),
    ("PUSH-48", "NaN and infinity are refused", b'{"records":[{"a":NaN,"b":-Infinity}],"x":NaN}'),
    ("PUSH-49", "A number without end is refused", b'{"records":' + b"9" * 100_000 + b"}"),
    ("PUSH-50", "Half a character is refused", b'{"records":[{"a":"\\ud800"}],"b":"\\ud800"}'),
    ("PUSH-51", "A body larger than any agreement is refused", b'{"records":[' + b" " * (17 << 20) + b"]}"),
    ("PUSH-52", "A form without end is refused", b"&".join(b"a%d=b" % n for n in range(50_000))),
    ("PUSH-53", "XML with entities is refused", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
)


def _refuses(body: bytes) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        taken = genuine(rig)[0]
        for request in (mutated(taken.request, body=body), mutated(taken.request, body=body, headers={})):
            answer = rig.receive(request, now=taken.at)
            require(not (isinstance(answer, Delivery) and answer.rows), "What is no message of the format brings rows.")

    return run


for _id, _title, _body in _BODIES:
    _case(_id, _title)(_refuses(_body))


@_case("PUSH-54", "Whatever stands in the place of a part of the message brings no other row")
def survives_odd_values(rig: Rig) -> None:
    """Every member of a JSON body in turn becomes something else."""
    taken = genuine(rig)[0]
    try:
        document = json.loads(taken.request.body)
    except ValueError:
        raise NotApplicable("The message is no JSON.") from None
    if not isinstance(document, dict):
        raise NotApplicable("The message is no JSON object.")
    for name in document:
        for odd in _ODD:
            changed = mutated(taken.request, body=json.dumps({**document, name: odd}).encode())
            require_untaken(rig, changed, taken, f"A message with a changed {name}")
        left = {other: value for other, value in document.items() if other != name}
        require_untaken(rig, mutated(taken.request, body=json.dumps(left).encode()), taken, f"A message without {name}")


_ROWS: Sequence[tuple[str, str, Callable[[str], str]]] = (
    ("PUSH-60", "A row with a name that stands twice disturbs no other", lambda body: body[:-1] + ',"x":1,"x":2}'),
    ("PUSH-61", "A row with NaN disturbs no other", lambda body: body[:-1] + ',"x":NaN}'),
    ("PUSH-62", "A row with a number beyond all numbers disturbs no other", lambda body: body[:-1] + ',"x":1e999}'),
    (
        "PUSH-63",
        "A row that is too deep disturbs no other",
        lambda body: body[:-1] + ',"x":' + "[" * 60 + "]" * 60 + "}",
    ),
    ("PUSH-64", "A row that is a number disturbs no other", lambda body: "5"),
    ("PUSH-65", "A row that is null disturbs no other", lambda body: "null"),
    ("PUSH-66", "A row that is an array disturbs no other", lambda body: "[[]]"),
    ("PUSH-67", "A row that is empty disturbs no other", lambda body: "{}"),
    ("PUSH-68", "A row with half a character disturbs no other", lambda body: body[:-1] + ',"x":"\\ud800"}'),
    ("PUSH-69", "A row with a long text disturbs no other", lambda body: body[:-1] + ',"x":"' + "a" * 20_000 + '"}'),
    ("PUSH-70", "A row whose every value is null disturbs no other", lambda body: _emptied(body, None)),
    ("PUSH-71", "A row whose every value is an object disturbs no other", lambda body: _emptied(body, {})),
    ("PUSH-72", "A row whose every value is a huge number disturbs no other", lambda body: _emptied(body, 10**300)),
)


def _with_one_bad_row(spoil: Callable[[str], str]) -> Callable[[Rig], None]:
    """Let the platform sign and post a bad row between good ones; what came of the good ones must come all the same."""

    def run(rig: Rig) -> None:
        good = [row for row in rig.told if row.part == 1 and row.trouble is None and row.note is not Note.REPLAY]
        if len(good) < 3:
            raise NotApplicable("The platform has too little to tell in its first part.")
        middle = good[len(good) // 2]
        bad = _spoilt(middle, spoil)
        others = tuple(row for row in good if row is not middle)
        expected = set(_bring(_retold(rig, others)))
        retold = _retold(rig, tuple(bad if row is middle else row for row in good))
        found = _bring(retold)
        require(
            expected <= set(found),
            f"{len(expected - set(found))} good rows were lost because of a bad one beside them.",
        )
        for taken in retold.taken:
            require(isinstance(taken.answer, Delivery | Reply | ConnectorError), "A message is answered with nothing.")

    return run


for _id, _title, _spoil in _ROWS:
    _case(_id, _title)(_with_one_bad_row(_spoil))


def _spoilt(row: Report, spoil: Callable[[str], str]) -> Report:
    return replace(row, body=spoil(row.body), lines=(), source_id=row.source_id + "-bad")


def _emptied(body: str, value: object) -> str:
    return json.dumps(dict.fromkeys(json.loads(body), value))


def _retold(rig: Rig, rows: tuple[Report, ...]) -> Rig:
    """A platform that tells these rows and no others."""
    folder = rig.folder / f"retold-{len(rows)}-{rows[0].source_id[:8]}"
    other = Rig(rig.stage, rig.spec, rig.feed, folder, builder=rig.builder, rows=rows)
    other.deliver(1)
    return other


def _bring(rig: Rig) -> list[bytes]:
    return [row for taken in rig.taken if isinstance(taken.answer, Delivery) for row in taken.answer.rows]
