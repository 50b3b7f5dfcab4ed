"""What the cases of pages share: a healthy reading, and what another one is held against. Pure, but for the rig."""

from connectors.base import Cursor
from hub.conformance.cases import NotApplicable, require
from hub.conformance.observed import Reading, again
from hub.conformance.rig import Rig


def healthy(rig: Rig) -> Reading:
    """Let the platform tell everything and read it to the end, once; learns which paths only give out tokens."""
    rig.drop_root.mkdir(parents=True, exist_ok=True)
    rig.deliver()
    reading = rig.read_all()
    # A path that was asked, and never just before a page, gives no rows: faults of rows do not belong there.
    rig.wire.spared |= {one.path for one in rig.wire.asked} - rig.row_paths
    require(any(page.delivery.rows for page in reading.pages), "A month of telling was read as nothing.")
    return reading


def require_nothing_lost(rig: Rig, whole: Reading, kept: list[bytes], cursor: Cursor | None, when: str) -> None:
    """Go on from the last committed cursor on a healthy platform: together everything must be there."""
    rest = rig.read_all(cursor)
    lost = set(whole.rows) - set(kept) - set(rest.rows)
    require(not lost, f"{len(lost)} of {len(set(whole.rows))} rows were lost {when}.")
    foreign = set(rest.rows) - set(whole.rows)
    require(not foreign, f"{len(foreign)} rows came {when} that the platform did not tell.")


def require_only_rows_of(whole: Reading, reading: Reading, when: str) -> None:
    foreign = set(reading.rows) - set(whole.rows)
    require(not foreign, f"{len(foreign)} rows were handed on {when} that the platform did not tell.")


def cursors_of(reading: Reading) -> list[Cursor]:
    return [again(page.cursor) for page in reading.pages]


def several_pages(reading: Reading) -> Reading:
    if len(reading.pages) < 2:
        raise NotApplicable("The feed comes in one page.")
    return reading
