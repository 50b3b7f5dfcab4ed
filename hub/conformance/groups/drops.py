"""What the cases of drops share: the folders of a platform, and the means to spoil and to sign them. I/O: files."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import ConnectorError, SetAside
from hub.conformance.cases import NotApplicable, require
from hub.conformance.groups.reading import require_nothing_lost, require_only_rows_of
from hub.conformance.observed import Reading
from hub.conformance.rig import Rig

READY, MANIFEST, SIGNATURE = ".ok", "manifest.json", "manifest.sig"
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drops:
    """The drops of a month, and what a healthy reading of them gives."""

    rig: Rig
    whole: Reading

    @property
    def root(self) -> Path:
        return self.rig.drop_root

    @property
    def folders(self) -> list[Path]:
        return sorted((path for path in self.root.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))

    @property
    def last(self) -> Path:
        return self.folders[-1]

    def data_of(self, folder: Path) -> Path:
        """Return the largest file of a drop that is neither manifest nor mark."""
        files = [path for path in folder.iterdir() if path.name not in (READY, MANIFEST, SIGNATURE) and path.is_file()]
        return max(files, key=lambda path: path.stat().st_size)

    def rows_before(self, folder: Path) -> set[bytes]:
        """The rows of the drops before one, by the healthy reading of a folder that has only those."""
        kept = self.rig.folder / "before"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.root, kept)
        for path in kept.iterdir():
            if path.name.isdigit() and int(path.name) >= int(folder.name):
                shutil.rmtree(path)
        before = self.rig.read_at(kept)
        require(before.error is None, "The drops before the spoilt one are not read.")
        return set(before.rows)


def dropped(rig: Rig) -> Drops:
    """Let the platform drop its month and read it once."""
    rig.drop_root.mkdir(parents=True, exist_ok=True)
    rig.deliver()
    whole = rig.read_all()
    drops = Drops(rig=rig, whole=whole)
    if len(drops.folders) < 2 or not all((folder / READY).exists() for folder in drops.folders):
        raise NotApplicable("The platform's drops are not those of the signed file drop.")
    return drops


def require_set_aside(
    rig: Rig,
    spoil: Callable[[Drops, Path], None],
    what: str,
    *,
    last: bool = False,
    errors: tuple[type[ConnectorError], ...] = (SetAside,),
) -> None:
    """Spoil a drop: nothing of it is handed on, an error says so, and once it is mended nothing is missing."""
    drops = dropped(rig)
    folder = drops.last if last else drops.folders[len(drops.folders) // 2]
    before = drops.rows_before(folder)
    kept = rig.folder / "mended"
    shutil.copytree(drops.root, kept, symlinks=True)
    spoil(drops, folder)
    reading = rig.read()
    require_only_rows_of(drops.whole, reading, f"of {what}")
    require(set(reading.rows) <= before, f"Rows of {what} are handed on; nothing of it may be.")
    names = " or ".join(error.__name__ for error in errors)
    found = type(reading.error).__name__ if reading.error is not None else "no error"
    require(isinstance(reading.error, errors), f"{what.capitalize()} ends in {found}; {names} is right.")
    shutil.rmtree(drops.root)
    shutil.copytree(kept, drops.root, symlinks=True)
    require_nothing_lost(rig, drops.whole, reading.rows, reading.cursor, f"after {what} was mended")


def require_not_read(rig: Rig, spoil: Callable[[Drops, Path], None], what: str) -> None:
    """Spoil the last drop: it is left lying without an error, and read once it is mended."""
    drops = dropped(rig)
    before = drops.rows_before(drops.last)
    kept = rig.folder / "mended"
    shutil.copytree(drops.root, kept, symlinks=True)
    spoil(drops, drops.last)
    reading = rig.read_all()
    require(set(reading.rows) <= before, f"Rows of {what} are handed on; it must be left until it is whole.")
    shutil.rmtree(drops.root)
    shutil.copytree(kept, drops.root, symlinks=True)
    require_nothing_lost(rig, drops.whole, reading.rows, reading.cursor, f"after {what} became whole")


Change = Callable[[Drops, Path, Manifest], bytes | None]
"""Changes a drop and its manifest; or gives the bytes of another manifest."""


def resigned(change: Change) -> Callable[[Drops, Path], None]:
    """Change a drop's manifest (and whatever else) and sign it anew with the platform's own key."""

    def spoil(drops: Drops, folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        changed = change(drops, folder, manifest)
        text = json.dumps(manifest).encode() if changed is None else changed
        sign(drops.rig, folder, text)

    return spoil


def sign(rig: Rig, folder: Path, manifest: bytes) -> None:
    """Write a manifest and the platform's signature over it."""
    told = rig.site.secrets.get("signing_key")
    if told is None:
        raise NotApplicable("The platform's key is not at hand to sign a drop with.")
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(told))
    (folder / MANIFEST).write_bytes(manifest)
    (folder / SIGNATURE).write_text(base64.b64encode(key.sign(manifest)).decode())


def with_data(
    drops: Drops, folder: Path, manifest: Manifest, data: bytes, *, rows: int, name: str | None = None
) -> None:
    """Put other data into a drop, named and counted as the manifest must."""
    old = drops.data_of(folder)
    place = next(entry for entry in manifest["files"] if entry["name"] == old.name)
    old.unlink()
    place["name"] = name or old.name
    (folder / place["name"]).write_bytes(data)
    place["sha256"], place["rows"] = hashlib.sha256(data).hexdigest(), rows
