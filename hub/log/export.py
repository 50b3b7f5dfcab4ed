"""The log as static files, ready for any web server or any verifier. I/O: reads the database, writes a folder.

Every file appears whole under its name, and the checkpoint last, after everything below it is on the disk: whoever reads
the folder at any moment, also after a power cut, finds a log that verifies, the older one or the newer one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hub.db import reading
from hub.errors import IntegrityBroken, NotFound
from hub.log.cosigned import with_cosignatures
from hub.log.merkle import HASH_BYTES
from hub.log.store import load_head, load_resource
from hub.log.tiles import ENTRIES, FULL_WIDTH, BundleError, TilePath, entry_offsets, tiles_of_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    size: int
    root: bytes
    files: int


def export_log(engine: Engine, folder: Path) -> Exported:
    """Write the newest checkpoint and all tiles and bundles under it; an older export in the folder is continued.

    Failing in the middle leaves the older log, and files that the next export uses or writes again.

    Raises:
        NotFound: nothing was ever signed.
    """
    with reading(engine) as session:
        head = load_head(session)
        if head is None or head.checkpoint is None:
            raise NotFound("the log has no checkpoint yet: run the sequencer first")
        written = _export_tiles(session, folder, head.size)
        _sync(written)
        _write(folder / "checkpoint", with_cosignatures(session, head.checkpoint))
        _sync([folder / "checkpoint"])
        return Exported(size=head.size, root=head.frontier.root(), files=len(written) + 1)


def _export_tiles(session: Session, folder: Path, size: int) -> list[Path]:
    written = []
    for path in tiles_of_size(size):
        place = folder / str(path)
        if path.width == FULL_WIDTH and _is_whole(path, place):
            continue  # immutable
        if (data := load_resource(session, path)) is None:
            raise IntegrityBroken(f"the log lacks {path}")
        _write(place, data)
        written.append(place)
    return written


def _is_whole(path: TilePath, place: Path) -> bool:
    """Tell whether a full tile or bundle is there in its length; a power cut can leave a name without content."""
    try:
        if path.level != ENTRIES:
            return place.stat().st_size == FULL_WIDTH * HASH_BYTES
        return len(entry_offsets(place.read_bytes())) == FULL_WIDTH + 1
    except (FileNotFoundError, BundleError):
        return False


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(place.name + ".new")
    beside.write_bytes(data)
    os.replace(beside, place)


def _sync(written: Sequence[Path]) -> None:
    """Let files and their names reach the disk, all at the end: one by one each would wait for the disk's journal."""
    for place in (*written, *{file.parent for file in written}):
        file = os.open(place, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
