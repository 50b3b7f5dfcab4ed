"""What the cases of brought files share: a person's own file, saved anew, and what may come of it. Pure, but for the rig."""

import io
import zipfile
from collections.abc import Callable
from itertools import pairwise

from connectors.base import Delivery
from hub.conformance.cases import NotApplicable, require
from hub.conformance.groups.messages import delivery_of, genuine
from hub.conformance.observed import Taken
from hub.conformance.rig import Rig, mutated

ENCODINGS = ("utf-8-sig", "utf-8", "gb18030", "utf-16")
Save = Callable[[bytes], bytes]


def files(rig: Rig) -> list[Taken]:
    """The first files that people bring, one of each person."""
    found: dict[str, Taken] = {}
    for taken in genuine(rig):
        found.setdefault(taken.bringer or "", taken)
    return list(found.values())


def bring(rig: Rig, taken: Taken, body: bytes) -> Delivery | None:
    """Bring another file in the place of a person's own; None if it is refused."""
    answer = rig.receive(mutated(taken.request, body=body), now=taken.at)
    return answer if isinstance(answer, Delivery) else None


def require_same_or_refused(rig: Rig, save: Save, what: str) -> None:
    """Save every person's file anew: what is the same table has the same rows, or is refused as a whole."""
    tried = 0
    for taken in files(rig):
        try:
            body = save(taken.request.body)
        except UnicodeError:
            continue  # a file that is no text has no other encoding
        tried += 1
        answer, true = bring(rig, taken, body), delivery_of(taken)
        require(answer is None or answer.rows == true.rows, f"{what} brings other rows than the file that it was.")
    if not tried:
        raise NotApplicable("The format is no text.")


def require_no_other_record(rig: Rig, taken: Taken, body: bytes, what: str) -> None:
    answer = bring(rig, taken, body)
    if answer is not None:
        other = rig.ids(answer.rows) - rig.ids(delivery_of(taken).rows)
        require(not other, f"{what} brings {len(other)} records that the file does not have.")


def text_of(body: bytes) -> str:
    """Read a text as it was saved."""
    for encoding in ENCODINGS[::2]:
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnicodeError("no text")


def packed(body: bytes, *, beside: bytes | None = None) -> bytes:
    """Put a file into a zip, as mail programs and wallets do."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export.csv", body)
        if beside is not None:
            archive.writestr("[Content_Types].xml", beside)
    return data.getvalue()


def grown(deliveries: list[Delivery]) -> list[tuple[Delivery, Delivery]]:
    """Return each export with the one that the same person brings next."""
    by_person: dict[str | None, list[Delivery]] = {}
    for delivery in deliveries:
        by_person.setdefault(delivery.account, []).append(delivery)
    return [two for own in by_person.values() for two in pairwise(own)]
