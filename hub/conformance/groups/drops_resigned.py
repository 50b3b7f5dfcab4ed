"""Drops that the platform itself has signed and that are wrong all the same. I/O: files.

Whoever holds the platform's key may still be mistaken, or be somebody else: a signature vouches for who, not for what.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from hub.conformance.cases import CaseList, Group, NotApplicable, is_file, require
from hub.conformance.groups.drops import (
    MANIFEST,
    Change,
    Drops,
    Manifest,
    dropped,
    require_set_aside,
    resigned,
    sign,
    with_data,
)
from hub.conformance.groups.misdeeds import bomb
from hub.conformance.rig import Rig

CASES: CaseList[Rig] = CaseList(Group.FILE, is_file)
_case = CASES.case
_FILE_BYTES = 64 << 20


def _member(name: str, value: object) -> Change:
    def change(drops: Drops, folder: Path, manifest: Manifest) -> None:
        manifest[name] = value

    return change


def _file_member(name: str, value: object) -> Change:
    def change(drops: Drops, folder: Path, manifest: Manifest) -> None:
        manifest["files"][0][name] = value

    return change


def _counted(by: int) -> Change:
    def change(drops: Drops, folder: Path, manifest: Manifest) -> None:
        manifest["files"][0]["rows"] += by

    return change


def _numbered(by: int) -> Change:
    def change(drops: Drops, folder: Path, manifest: Manifest) -> None:
        manifest["sequence"] += by

    return change


def _ahead(drops: Drops, folder: Path, manifest: Manifest) -> None:
    manifest["created_at"] = (drops.rig.now + timedelta(hours=3)).isoformat()


def _named_twice(drops: Drops, folder: Path, manifest: Manifest) -> None:
    manifest["files"].append(dict(manifest["files"][0]))


def _absolute(drops: Drops, folder: Path, manifest: Manifest) -> None:
    manifest["files"][0]["name"] = str(drops.data_of(folder))


def _outside(drops: Drops, folder: Path, manifest: Manifest) -> None:
    data = drops.data_of(folder)
    (drops.root / data.name).write_bytes(data.read_bytes())
    manifest["files"][0]["name"] = f"../{data.name}"


def _twice_the_name(drops: Drops, folder: Path, manifest: Manifest) -> bytes:
    text = json.dumps(manifest)
    return (text[:-1] + f', "sequence": {manifest["sequence"]}' + "}").encode()


def _unknown_ending(drops: Drops, folder: Path, manifest: Manifest) -> None:
    drops.data_of(folder).rename(folder / "rows.exe")
    manifest["files"][0]["name"] = "rows.exe"


def _pressed(press: Callable[[bytes], bytes]) -> Change:
    def change(drops: Drops, folder: Path, manifest: Manifest) -> None:
        old = drops.data_of(folder)
        rows = manifest["files"][0]["rows"]
        with_data(drops, folder, manifest, press(old.read_bytes()), rows=rows, name=old.name + ".gz")

    return change


def _huge(drops: Drops, folder: Path, manifest: Manifest) -> None:
    limit = int(drops.rig.document["connector_config"].get("file_bytes", _FILE_BYTES))
    with drops.data_of(folder).open("r+b") as file:
        file.truncate(limit + 1)


_WRONG: Sequence[tuple[str, str, Change]] = (
    ("FILE-60", "a drop of another platform", _member("platform", "somebody-else")),
    ("FILE-61", "a drop of another stream", _member("stream", "another")),
    ("FILE-62", "a drop with a later number inside", _numbered(1)),
    ("FILE-63", "a drop with an earlier number inside", _numbered(-1)),
    ("FILE-64", "a drop that does not follow the one before", _member("prev_manifest_sha256", "0" * 64)),
    ("FILE-65", "a drop that begins anew", _member("prev_manifest_sha256", None)),
    ("FILE-66", "a drop from the future", _ahead),
    ("FILE-67", "a drop whose time has no zone", _member("created_at", "2026-10-01T00:00:00")),
    ("FILE-68", "a drop whose time is no time", _member("created_at", "yesterday")),
    ("FILE-69", "a drop that counts a row too many", _counted(1)),
    ("FILE-70", "a drop that counts a row too few", _counted(-1)),
    ("FILE-71", "a drop with a negative count", _file_member("rows", -1)),
    ("FILE-72", "a drop with a count that is true", _file_member("rows", True)),
    ("FILE-73", "a drop with a count beyond all counts", _file_member("rows", 10**30)),
    ("FILE-74", "a drop with a file outside of it", _outside),
    ("FILE-75", "a drop with a file at an absolute place", _absolute),
    ("FILE-76", "a drop with a hidden file", _file_member("name", ".rows.jsonl")),
    ("FILE-77", "a drop with a file of another kind", _unknown_ending),
    ("FILE-78", "a drop with one file twice", _named_twice),
    ("FILE-79", "a drop with a member that nobody knows", _member("note", "hello")),
    ("FILE-80", "a drop with a name twice in its manifest", _twice_the_name),
    ("FILE-81", "a drop whose files are no list", _member("files", {})),
    ("FILE-82", "a drop whose digest is no digest", _file_member("sha256", "x")),
    ("FILE-83", "a drop whose manifest is no object", lambda drops, folder, manifest: b"[]"),
    ("FILE-84", "a drop whose manifest is no JSON", lambda drops, folder, manifest: b"\xff{"),
    ("FILE-85", "a drop with compression that becomes a hundred megabytes", _pressed(lambda data: bomb())),
    ("FILE-86", "a drop with damaged compression", _pressed(lambda data: gzip.compress(data)[:-12])),
    ("FILE-87", "a drop with a file larger than agreed", _huge),
)


def _sets_aside(change: Change, what: str) -> Callable[[Rig], None]:
    return lambda rig: require_set_aside(rig, resigned(change), what, last=True)


for _id, _what, _change in _WRONG:
    _case(_id, f"Nothing is handed on of {_what}, although it is signed")(_sets_aside(_change, _what))


_LINES: Sequence[tuple[str, str, bytes]] = (
    ("FILE-90", "A line that is no JSON disturbs no other", b"{"),
    ("FILE-91", "A line that is no object disturbs no other", b"[]"),
    ("FILE-92", "A line with a name that stands twice disturbs no other", b'{"a":1,"a":2}'),
    ("FILE-93", "A line with NaN disturbs no other", b'{"a":NaN}'),
    ("FILE-94", "A line that is no text disturbs no other", b'{"a":"\xff"}'),
    ("FILE-95", "A line that is too deep disturbs no other", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ("FILE-96", "A line without end disturbs no other", b'{"a":"' + b"x" * 200_000 + b'"}'),
    ("FILE-97", "A line without its fields disturbs no other", b"{}"),
)


def _with_a_bad_line(line: bytes) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        drops = dropped(rig)
        folder = drops.last
        data = drops.data_of(folder)
        if data.suffix != ".jsonl":
            raise NotApplicable("The drop is not made of lines.")
        manifest = json.loads((folder / MANIFEST).read_bytes())
        lines = data.read_bytes().splitlines()
        content = b"\n".join([*lines[:1], line, *lines[1:]]) + b"\n"
        with_data(drops, folder, manifest, content, rows=len(lines) + 1)
        sign(rig, folder, json.dumps(manifest).encode())
        reading = rig.read_all()
        lost = set(drops.whole.rows) - set(reading.rows)
        require(not lost, f"{len(lost)} good rows were lost because of a bad line beside them.")
        unreadable = sum(len(page.delivery.unreadable) for page in reading.pages)
        before = sum(len(page.delivery.unreadable) for page in drops.whole.pages)
        more = len(reading.rows) - len(drops.whole.rows)
        require(unreadable + more > before, "The bad line has disappeared; it must be told as unreadable.")

    return run


for _id, _title, _line in _LINES:
    _case(_id, _title)(_with_a_bad_line(_line))
