"""The proof of a final window as files, for whoever does not trust the hub. I/O: reads the database, writes a folder.

    DIR/window-12/proof.json   the manifest, the leaf that names it, and the log's proof of that leaf
    DIR/window-12/decisions    DIR/window-12/events    DIR/window-12/reversals

Lines are written as the database gives them, so that memory does not grow with the window. `hub/log/window_proof.py` says
what is in them and checks them.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from hub.clearing.event_keys import read_decision_lines, read_event_lines, read_reversal_lines
from hub.errors import IntegrityBroken, UsageProblem
from hub.log.bundles import to_text
from hub.log.window_proof import DECISIONS, EVENTS, MANIFEST, REVERSALS
from hub.proving.bundling import Prover

PROOF = "proof.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written where."""

    folder: Path
    window: int
    decisions: int
    events: int
    reversals: int


def write_window(session: Session, prover: Prover, window_id: int, directory: Path) -> Written:
    """Write a final window's proof into a folder of its own; what is there of it is replaced.

    `proof.json` comes last: a folder that has it is whole.

    Raises:
        NotFound, Conflict, Busy: as `Prover.prove_window`. UsageProblem: it became final before its keys were kept.
    """
    bundle = prover.prove_window(session, window_id)
    manifest = json.loads(bundle["manifest"])
    if manifest.get("v") != MANIFEST:
        raise UsageProblem(f"window {window_id} became final before its keys were kept; `--leaf` proves what is logged")
    folder = directory / f"window-{window_id}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROOF).unlink(missing_ok=True)
    decisions = _write(folder / DECISIONS, (line for _, line in read_decision_lines(session, window_id)))
    events = _write(folder / EVENTS, read_event_lines(session, window_id))
    reversals = _write(folder / REVERSALS, read_reversal_lines(session, window_id))
    told = (manifest["records"], manifest["events"]["count"], manifest["reversals"]["count"])
    if (decisions, events, reversals) != told:
        raise IntegrityBroken(f"the tables do not have what window {window_id} committed to; run `tanlian audit`")
    (folder / PROOF).write_text(to_text(bundle), encoding="utf-8")
    return Written(folder=folder, window=window_id, decisions=decisions, events=events, reversals=reversals)


def _write(place: Path, lines: Iterable[str]) -> int:
    count = 0
    with place.open("w", encoding="ascii", newline="\n") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    return count
