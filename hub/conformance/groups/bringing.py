"""Files that people bring, one by one: saved anew, cut, edited, too large, or no file of the kind at all. Pure, but for the rig.

Nobody has signed such a file. So the cases do not ask that a change is noticed, but that it brings nothing that only a signature
could vouch for, and that damage is not taken for content.
"""

import re
from collections.abc import Callable, Sequence

from connectors.base import Delivery, Reply
from hub.conformance.cases import CaseList, Group, NotApplicable, is_upload, require
from hub.conformance.groups.brought import (
    ENCODINGS,
    Save,
    bring,
    files,
    packed,
    require_no_other_record,
    require_same_or_refused,
    text_of,
)
from hub.conformance.groups.messages import delivery_of, flip, places_in
from hub.conformance.rig import Rig, mutated
from standards.schema import Role

CASES: CaseList[Rig] = CaseList(Group.UPLOAD, is_upload)
_case = CASES.case
_LONGEST_END = 400  # bytes: the last rows of any table, in which every place is tried
_SHORTEST_ACCOUNT = 6
_BEYOND_AGREEMENT = 17 << 20  # bytes: a door takes 16 MiB, unless an operator says otherwise
_UNPACKED = 100 << 20  # bytes, from a zip of a tenth of a megabyte
_LINE_END = re.compile(r"\r\n|\n|\r")


@_case("UPL-01", "Whose a file is, is not read from the file")
def names_no_account(rig: Rig) -> None:
    accounts = {row.account for row in rig.told if len(row.account) >= _SHORTEST_ACCOUNT}
    for taken in files(rig):
        delivery = delivery_of(taken)
        require(delivery.account is None, "It says whose the file is; only the hub knows who has brought it.")
        handed_on = b"".join(delivery.rows).decode("utf-8", "replace") + repr(delivery.unreadable)
        require(not any(one in handed_on for one in accounts), "The account that the file names is handed on.")


@_case("UPL-02", "Somebody else's account in a file changes nothing of its rows")
def believes_no_account(rig: Rig) -> None:
    """An account is written in ASCII whatever the encoding, so it can be changed without knowing the format."""
    accounts = sorted({row.account for row in rig.told})
    tried = 0
    for taken in files(rig):
        own = (taken.bringer or "").encode()
        other = next((one.encode() for one in accounts if one.encode() != own), b"somebody-else")
        if own and own in taken.request.body:
            tried += 1
            answer = bring(rig, taken, taken.request.body.replace(own, other))
            require(
                answer is None or (answer.rows, answer.account) == (delivery_of(taken).rows, None),
                "The account that somebody has written into a file decides about its rows.",
            )
    if not tried:
        raise NotApplicable("The files name no account.")


@_case("UPL-03", "What a person brings is declared, and no more than that")
def declares(rig: Rig) -> None:
    """ADR 0020: a document that anybody can edit never counts by itself."""
    require(rig.description.role == Role.DECLARED, "A file that anybody can edit passes for first-hand.")
    for taken in files(rig):
        roles = set(rig.translate(delivery_of(taken).rows).records["role"].to_list())
        require(roles <= {str(Role.DECLARED)}, f"Rows that anybody can edit pass for {', '.join(sorted(roles))}.")


_SAVED: Sequence[tuple[str, str, Save]] = (
    *(
        (f"UPL-{number}", f"A file that was saved anew as {encoding} is the same rows, or none", save)
        for number, encoding, save in (
            (number, encoding, lambda body, encoding=encoding: text_of(body).encode(encoding))
            for number, encoding in enumerate(ENCODINGS, start=10)
        )
    ),
    ("UPL-14", "Line ends that a program has changed change no row", lambda body: _with_line_ends(body, "\n")),
    ("UPL-15", "Line ends of another system change no row", lambda body: _with_line_ends(body, "\r\n")),
    ("UPL-16", "Empty lines before the table change no row", lambda body: b"\r\n" * 3 + body),
    ("UPL-17", "Empty lines after the table change no row", lambda body: body + b"\r\n" * 50),
    ("UPL-18", "A file in a zip is the same rows, or none", packed),
)  # fmt: skip


def _is_the_same(save: Save, title: str) -> Callable[[Rig], None]:
    return lambda rig: require_same_or_refused(rig, save, title.partition(" change")[0].partition(" is ")[0])


for _id, _title, _save in _SAVED:
    _case(_id, _title)(_is_the_same(_save, _title))


@_case("UPL-20", "A file that was cut brings no row that the whole one does not have")
def takes_no_half_row(rig: Rig) -> None:
    """Half a number looks like a number. A download that broke off is the commonest fault of a file."""
    for taken in files(rig):
        body, whole = taken.request.body, set(delivery_of(taken).rows)
        for end in {*places_in(body), *range(max(0, len(body) - _LONGEST_END), len(body))}:
            answer = bring(rig, taken, body[:end])
            other = set(answer.rows) - whole if answer is not None else set()
            require(not other, "A file that was cut brings a row that the whole file does not have.")


@_case("UPL-21", "A file that was changed is another delivery")
def knows_a_changed_file(rig: Rig) -> None:
    for taken in files(rig):
        true = delivery_of(taken)
        for at in places_in(taken.request.body):
            answer = bring(rig, taken, flip(taken.request.body, at))
            if answer is not None:
                require(answer.delivery_id != true.delivery_id, "A changed file is taken for the one that was there.")
                require(answer.digest != true.digest, "A changed file has the digest of the one that was there.")


@_case("UPL-22", "A file that holds its table twice brings no other record")
def survives_doubled_tables(rig: Rig) -> None:
    for taken in files(rig):
        require_no_other_record(rig, taken, taken.request.body * 2, "A file that was pasted behind itself")


@_case("UPL-23", "What an editor leaves in a file brings no other record")
def survives_editors(rig: Rig) -> None:
    for taken in files(rig):
        body = taken.request.body
        for left in (b"\xef\xbb\xbf" + body, body + b"\x1a", body + b"\x00", body + b"x", body + b'"', b" " + body):
            require_no_other_record(rig, taken, left, "What an editor has left in a file")


_MISTAKEN: Sequence[tuple[str, str, bytes]] = (
    ("UPL-30", "a photo", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40),
    ("UPL-31", "a PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\n%%EOF\n"),
    ("UPL-32", "a workbook", packed(b"x", beside=b"<Types/>")),
    ("UPL-33", "the page on which one signs in", b"<!DOCTYPE html><html><title>Sign in</title><form></form></html>"),
    ("UPL-34", "a table of something else", "日期,事项,备注\r\n2026-10-05,体检,正常\r\n".encode("gb18030")),
    ("UPL-35", "an empty zip", b"PK\x05\x06" + bytes(18)),
    ("UPL-36", "half a zip", packed(bytes(range(256)) * 40)[:200]),
)


def _refuses(body: bytes, what: str) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        taken = files(rig)[0]
        _require_refused_kindly(rig, mutated(taken.request, body=body).body, what)

    return run


for _id, _what, _body in _MISTAKEN:
    _case(_id, f"Who brings {_what} by mistake is told that it is none of these files")(_refuses(_body, _what))


@_case("UPL-40", "A file that is larger than any agreement is refused")
def bounds_files(rig: Rig) -> None:
    body = files(rig)[0].request.body
    _require_refused_kindly(rig, body + b"\n" * _BEYOND_AGREEMENT, "a file that is too large")


@_case("UPL-41", "A zip that unpacks to far more than it is, is refused")
def bounds_zips(rig: Rig) -> None:
    body = files(rig)[0].request.body
    _require_refused_kindly(rig, packed(body + b"\n" * _UNPACKED), "a zip that unpacks without end")


def _require_refused_kindly(rig: Rig, body: bytes, what: str) -> None:
    """A person reads the answer: it must be a refusal, and blame neither the person's patience nor the hub."""
    taken = files(rig)[0]
    answer = rig.receive(mutated(taken.request, body=body), now=taken.at)
    require(not isinstance(answer, Delivery), f"Bringing {what} is answered as if it were taken.")
    status = answer.status if isinstance(answer, Reply) else 0
    require(400 <= status < 500, f"Bringing {what} is answered with {status or 'an error'}; 4xx is right.")


def _with_line_ends(body: bytes, line_end: str) -> bytes:
    text = text_of(body)
    encoding = ENCODINGS[0] if body.startswith(b"\xef\xbb\xbf") else _encoding_of(body)
    return _LINE_END.sub(line_end, text).encode(encoding)


def _encoding_of(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"
