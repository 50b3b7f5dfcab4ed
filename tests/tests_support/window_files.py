"""Files of final windows, made by hand: sound ones, and those of a hub that lies and commits to its lies."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from hub.log.merkle import commitment_root
from hub.log.window_proof import MANIFEST, NO_ROOT


def root_of(lines: list[str]) -> str:
    return commitment_root([sha256(line.encode()).digest() for line in lines]).hex()


def key_of(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()[:32]


@dataclass
class MadeWindow:
    """One window's lists; `commit` says in a manifest what they hold, `write` puts them into a folder."""

    window: int
    first: int
    last: int
    decisions: list[str]
    events: list[str]
    reversals: list[str] = field(default_factory=list)
    serials: list[dict[str, Any]] = field(default_factory=list)
    previous_root: str = NO_ROOT

    def commit(self, **changes: Any) -> dict[str, Any]:
        decisions_root = root_of(self.decisions)
        root = sha256(bytes.fromhex(self.previous_root) + bytes.fromhex(decisions_root)).hexdigest()
        manifest = {
            "v": MANIFEST, "window": self.window, "first_seq": self.first, "last_seq": self.last,
            "records": len(self.decisions), "counted_mg": str(sum(int(one.split("|")[4]) for one in self.decisions)),
            "decisions_root": decisions_root, "root": root, "previous_root": self.previous_root,
            "events": _committed(self.events), "reversals": _committed(self.reversals), "serials": self.serials,
            "positions": [],
        }  # fmt: skip
        return manifest | changes

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("decisions", "events", "reversals"):
            lines = getattr(self, name)
            (folder / name).write_text("".join(f"{line}\n" for line in lines))
        return folder


def _committed(lines: list[str]) -> dict[str, Any]:
    return {"count": len(lines), "mg": str(sum(int(one.split("|")[-1]) for one in lines)), "root": root_of(lines)}


def counted(record: int, mg: int) -> str:
    return f"{record}|{record}|counted|T2|{mg}|{record}"


def duplicate(record: int, event: int) -> str:
    return f"{record}|{event}|duplicate|T2|0|{event}"


def event_lines(acts: dict[int, int], keys: dict[int, int] | None = None) -> list[str]:
    """The lines of acts (number to amount); `keys` names the ones whose key is another act's."""
    return sorted(f"{key_of((keys or {}).get(event, event))}|{event}|{mg}" for event, mg in acts.items())


def market(after: int, last: int, *ranges: tuple[int, int]) -> dict[str, Any]:
    told = [{"first": first, "last": end, "year": 2026, "shares_root": NO_ROOT} for first, end in ranges]
    return {"market": "gd-exchange", "after": after, "last": last, "ranges": told}


def two_windows() -> tuple[MadeWindow, MadeWindow]:
    """Two sound windows: duplicates, an act taken back and told anew, a record decided anew, serials that go on."""
    one = MadeWindow(
        window=1, first=1, last=9,
        decisions=[counted(1, 100), duplicate(2, 1), counted(3, 250), "5||rejected|P1|0|", counted(7, 50), duplicate(8, 7)],
        events=event_lines({1: 100, 3: 250, 7: 50}), serials=[market(0, 3, (1, 2), (3, 3))],
    )  # fmt: skip
    two = MadeWindow(
        window=2, first=10, last=15,
        # Record 10 is the newer version of record 7, which falls; its duplicate, record 8, is decided anew.
        decisions=[duplicate(8, 10), counted(10, 40), counted(12, 60)],
        events=event_lines({10: 40, 12: 60}, keys={10: 7}), reversals=["7|50"], serials=[market(3, 5, (4, 5))],
        previous_root=one.commit()["root"],
    )  # fmt: skip
    return one, two
