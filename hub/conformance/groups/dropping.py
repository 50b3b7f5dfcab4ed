"""Drops of files that are late, changed, missing, or traps. I/O: files.

All of these may be done by whoever can write to the folder, without the platform's key.
"""

import base64
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from connectors.base import RetryLater, SetAside
from hub.conformance.cases import CaseList, Group, NotApplicable, is_file, require
from hub.conformance.groups.drops import (
    MANIFEST,
    READY,
    SIGNATURE,
    Drops,
    dropped,
    require_not_read,
    require_set_aside,
)
from hub.conformance.groups.messages import flip
from hub.conformance.groups.reading import require_nothing_lost, several_pages
from hub.conformance.rig import Rig
from hub.sandbox.platforms.faults import Fault

CASES: CaseList[Rig] = CaseList(Group.FILE, is_file)
_case = CASES.case
SpoilDrop = Callable[[Drops, Path], None]


@_case("FILE-01", "Drops are read in the order of their numbers")
def reads_in_order(rig: Rig) -> None:
    drops = dropped(rig)
    ids = [page.delivery.delivery_id for page in drops.whole.pages]
    require(ids == sorted(ids), "The drops are not read in the order of their numbers.")
    require(len(ids) >= len(drops.folders), "Fewer pages than drops were read.")


@_case("FILE-02", "A drop that is read again gives the same bytes")
def reads_the_same_again(rig: Rig) -> None:
    whole = dropped(rig).whole
    again = rig.read_all()
    same = [page.delivery for page in again.pages] == [page.delivery for page in whole.pages]
    require(same, "A drop that is read again differs.")


@_case("FILE-03", "A drop that is still being written is left until it is whole")
def waits_for_the_mark(rig: Rig) -> None:
    require_not_read(rig, lambda drops, folder: (folder / READY).unlink(), "a drop without its mark")


@_case("FILE-04", "A drop whose files are only half there is left as long as it has no mark")
def waits_for_half_a_drop(rig: Rig) -> None:
    def halve(drops: Drops, folder: Path) -> None:
        (folder / READY).unlink()
        data = drops.data_of(folder)
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        (folder / SIGNATURE).unlink()

    require_not_read(rig, halve, "half a drop")


@_case("FILE-05", "A mark that is a folder or a link is no mark")
def knows_a_mark(rig: Rig) -> None:
    def fake(drops: Drops, folder: Path) -> None:
        (folder / READY).unlink()
        (folder / READY).symlink_to(folder / MANIFEST)

    require_not_read(rig, fake, "a drop whose mark is a link")


@_case("FILE-06", "Folders that are no drops are passed by")
def passes_others_by(rig: Rig) -> None:
    drops = dropped(rig)
    for name in ("latest", ".hidden", "1e3", "-1", "２", "tmp"):
        (drops.root / name).mkdir()
        (drops.root / name / READY).touch()
    (drops.root / "README").write_text("nothing")
    require(rig.read_all().rows == drops.whole.rows, "A folder that is no drop changes what is read.")


@_case("FILE-07", "A folder that cannot be read is tried again later, and check() says so")
def tries_a_missing_folder_again(rig: Rig) -> None:
    drops = dropped(rig)
    kept = rig.folder / "kept"
    shutil.move(drops.root, kept)
    reading = rig.read()
    require(isinstance(reading.error, RetryLater), "A folder that is not there is tried again later: RetryLater.")
    require(not rig.connector.check().ok, "check() is content with a folder that is not there.")
    shutil.move(kept, drops.root)
    require_nothing_lost(rig, drops.whole, [], reading.cursor, "after the folder was there again")


@_case("FILE-08", "A drop that changes between two of its pages is set aside")
def notices_a_change_between_pages(rig: Rig) -> None:
    drops = dropped(rig)
    whole = several_pages(drops.whole)
    if len(whole.pages) <= len(drops.folders):
        raise NotApplicable("No drop comes in several pages.")
    first = rig.read(most_pages=1)
    data = drops.data_of(drops.folders[0])
    data.write_bytes(flip(data.read_bytes(), data.stat().st_size // 2))
    reading = rig.read(first.cursor)
    require(isinstance(reading.error, SetAside), "A drop that changed between two pages is read on.")
    require(not reading.rows, "Rows of a drop that changed between two pages are handed on.")


def _flipped(name: str | None) -> SpoilDrop:
    def spoil(drops: Drops, folder: Path) -> None:
        path = drops.data_of(folder) if name is None else folder / name
        path.write_bytes(flip(path.read_bytes(), path.stat().st_size // 2))

    return spoil


def _without(name: str | None) -> SpoilDrop:
    def spoil(drops: Drops, folder: Path) -> None:
        (drops.data_of(folder) if name is None else folder / name).unlink()

    return spoil


def _cut(drops: Drops, folder: Path) -> None:
    data = drops.data_of(folder)
    data.write_bytes(data.read_bytes()[:-20])


def _grown(drops: Drops, folder: Path) -> None:
    data = drops.data_of(folder)
    data.write_bytes(data.read_bytes() * 2)


def _forged(drops: Drops, folder: Path) -> None:
    (folder / SIGNATURE).write_text(base64.b64encode(bytes(64)).decode())


def _garbled(drops: Drops, folder: Path) -> None:
    (folder / SIGNATURE).write_bytes(b"\xff\xfe not a signature \x00" * 50)


def _shown_again(drops: Drops, folder: Path) -> None:
    """Show a genuine, signed drop a second time, under a new number."""
    for name in (MANIFEST, SIGNATURE, drops.data_of(drops.folders[0]).name):
        shutil.copyfile(drops.folders[0] / name, folder / name)


def _removed(drops: Drops, folder: Path) -> None:
    shutil.rmtree(folder)


def _unmarked(drops: Drops, folder: Path) -> None:
    (folder / READY).unlink()


def _numbered_twice(drops: Drops, folder: Path) -> None:
    shutil.copytree(folder, drops.root / folder.name.zfill(len(folder.name) + 2))


def _replaced(make: Callable[[Path, Path], None]) -> SpoilDrop:
    def spoil(drops: Drops, folder: Path) -> None:
        data = drops.data_of(folder)
        outside = drops.rig.folder / "outside"
        shutil.copyfile(data, outside)
        data.unlink()
        make(data, outside)

    return spoil


def _manifest_elsewhere(drops: Drops, folder: Path) -> None:
    outside = drops.rig.folder / "outside-manifest"
    shutil.move(folder / MANIFEST, outside)
    (folder / MANIFEST).symlink_to(outside)


def _folder_elsewhere(drops: Drops, folder: Path) -> None:
    outside = drops.rig.folder / "outside-folder"
    shutil.move(folder, outside)
    folder.symlink_to(outside, target_is_directory=True)


def _large_manifest(drops: Drops, folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b" " * (9 << 20))


_SPOILT: Sequence[tuple[str, str, SpoilDrop]] = (
    ("FILE-20", "a drop with a changed file", _flipped(None)),
    ("FILE-21", "a drop with a file that was cut", _cut),
    ("FILE-22", "a drop with a file that grew", _grown),
    ("FILE-23", "a drop without its file", _without(None)),
    ("FILE-24", "a drop with a changed manifest", _flipped(MANIFEST)),
    ("FILE-25", "a drop without its manifest", _without(MANIFEST)),
    ("FILE-26", "a drop with a changed signature", _flipped(SIGNATURE)),
    ("FILE-27", "a drop without its signature", _without(SIGNATURE)),
    ("FILE-28", "a drop with a signature of nobody", _forged),
    ("FILE-29", "a drop with a signature that is none", _garbled),
    ("FILE-30", "a drop that was shown before", _shown_again),
    ("FILE-31", "a drop that is missing among others", _removed),
    ("FILE-32", "a drop that was never finished although others followed", _unmarked),
    ("FILE-33", "a number that two drops have", _numbered_twice),
    ("FILE-34", "a file that is a link to another place", _replaced(lambda data, outside: data.symlink_to(outside))),
    ("FILE-35", "a file that is a pipe", _replaced(lambda data, outside: os.mkfifo(data))),
    ("FILE-36", "a file that is a folder", _replaced(lambda data, outside: data.mkdir())),
    ("FILE-37", "a file that is a device", _replaced(lambda data, outside: data.symlink_to("/dev/zero"))),
    ("FILE-38", "a manifest that is a link to another place", _manifest_elsewhere),
    ("FILE-39", "a drop that is a link to another place", _folder_elsewhere),
    ("FILE-40", "a manifest of nine megabytes", _large_manifest),
)


def _sets_aside(spoil: SpoilDrop, what: str) -> Callable[[Rig], None]:
    return lambda rig: require_set_aside(rig, spoil, what)


for _id, _what, _spoil in _SPOILT:
    _case(_id, f"Nothing is handed on of {_what}")(_sets_aside(_spoil, _what))


def _with_a_fault(fault: Fault) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        rig.drop_root.mkdir(parents=True, exist_ok=True)
        rig.faults.arm(fault)
        rig.deliver(1)
        if fault.value in rig.faults.armed():
            raise NotApplicable(f"The simulator cannot misbehave like this ({fault.value}).")
        reading = rig.read()
        require(isinstance(reading.error, SetAside), f"A drop with a fault ({fault.value}) is taken like any other.")
        require(not reading.rows, f"Rows of a drop with a fault ({fault.value}) are handed on.")

    return run


for _number, _fault in enumerate((Fault.WRONG_SIGNATURE, Fault.TAMPERED, Fault.SKIPPED_SEQUENCE), start=45):
    _case(f"FILE-{_number}", f"The platform's own mishap is set aside: {_fault.value}")(_with_a_fault(_fault))
