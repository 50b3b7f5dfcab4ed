"""The log as static files, ready for any web server or any verifier. I/O: reads the database, writes a folder."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hub.db import reading
from hub.errors import IntegrityBroken, NotFound
from hub.log.store import load_head, load_resource
from hub.log.tiles import FULL_WIDTH, tiles_of_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    size: int
    root: bytes
    files: int


def export_log(engine: Engine, folder: Path) -> Exported:
    """Write the newest checkpoint and all tiles and bundles under it; an older export in the folder is continued.

    The checkpoint is written last, so a reader never finds one whose tiles are not there.

    Raises:
        NotFound: nothing was ever signed.
    """
    with reading(engine) as session:
        head = load_head(session)
        if head is None or head.checkpoint is None:
            raise NotFound("the log has no checkpoint yet: run the sequencer first")
        files = _export_tiles(session, folder, head.size)
        _write(folder / "checkpoint", head.checkpoint)
        return Exported(size=head.size, root=head.frontier.root(), files=files + 1)


def _export_tiles(session: Session, folder: Path, size: int) -> int:
    files = 0
    for path in tiles_of_size(size):
        place = folder / str(path)
        if path.width == FULL_WIDTH and place.exists():
            continue  # immutable
        if (data := load_resource(session, path)) is None:
            raise IntegrityBroken(f"the log lacks {path}")
        _write(place, data)
        files += 1
    return files


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(place.name + ".new")
    beside.write_bytes(data)
    beside.replace(place)
