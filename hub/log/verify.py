"""Recomputes a whole published log and names the first bad place. I/O: only through the `Fetch` it is given.

Needs nothing of the hub's: the log's files and its verifier key. Every entry is hashed again, every tile compared, the
root folded and set against the signed one. Where entries and tiles disagree, the signed root tells which of them is
wrong. Memory does not grow with the log: 256 entries and one tile of each level at a time.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hub.log.checkpoint import Checkpoint, open_checkpoint
from hub.log.merkle import EMPTY, HASH_BYTES, ROW_HEIGHT, extend, fold, leaf_hash
from hub.log.note import KEY_ID_BYTES, NoteError, VerifierKey, parse_note, parse_vkey
from hub.log.source import Fetch, open_source
from hub.log.tiles import (
    ENTRIES,
    FULL_WIDTH,
    BundleError,
    TilePath,
    cut_tile,
    decode_bundle,
    split_tile,
    tiles_of_level,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first thing that is wrong.

    `place` is a path below the log's prefix; `entry` is the index in the log of the bad entry, `hash_index` the
    position in the tile of the bad hash. Reasons: bad_checkpoint, missing, malformed, wrong_entry, wrong_block
    (somewhere in the block of entries that begins at `entry`), wrong_hash, entry_and_hash_differ (the root vouches for
    neither), wrong_root, rolled_back, forked.
    """

    place: str
    reason: str
    detail: str
    entry: int | None = None
    hash_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was recomputed; the log holds if there is no fault."""

    origin: str
    size: int
    root: str
    tiles: int
    fault: Fault | None

    @property
    def holds(self) -> bool:
        """Tell whether everything fits."""
        return self.fault is None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "holds": self.holds}


def verify_log(
    source: str | Path | Fetch,
    vkey: str,
    *,
    seen: bytes | None = None,
    others: Sequence[VerifierKey] = (),
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Verify a whole log.

    Args:
        source: a folder, an http(s) address, or a function from path to bytes.
        vkey: the log's verifier key line, had from elsewhere than the log.
        seen: an older signed checkpoint; the log must have grown from it.
        others: every other key that the log may sign with beside this one: then no signature line under the log's name may
            be wrong or anybody else's, which who knows one key has to pass over.
        tell: is told how many entries were hashed, and how many there are.

    Raises:
        NoteError: `vkey` or `seen` is not usable; nothing is said about the log.
        SourceError: the log could not be read.
    """
    key = parse_vkey(vkey)
    older = None if seen is None else open_checkpoint(seen, key)
    fetch = open_source(source) if isinstance(source, str | Path) else source
    note = fetch("checkpoint")
    try:
        if note is None:
            raise _FaultError(Fault(place="checkpoint", reason="missing", detail="there is no checkpoint"))
        checkpoint = _open(note, key, others)
    except _FaultError as found:
        return Report(origin=key.name, size=0, root="", tiles=0, fault=found.fault)
    walk = _Walk(fetch, checkpoint, older, tell)
    try:
        fault = walk.run()
    except _FaultError as found:
        fault = found.fault
    root = b64encode(checkpoint.root).decode()
    return Report(origin=checkpoint.origin, size=checkpoint.size, root=root, tiles=walk.tiles, fault=fault)


class _FaultError(Exception):
    """Ends the walk at a fault that leaves nothing to compare with."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


def _open(note: bytes, key: VerifierKey, others: Sequence[VerifierKey]) -> Checkpoint:
    try:
        if others:
            ours = {one.key_id for one in (key, *others)}
            if any(name == key.name and blob[:KEY_ID_BYTES] not in ours for name, blob in parse_note(note)[1]):
                raise NoteError("a signature line under the log's name is by no key of the log")
        return open_checkpoint(note, key, witnesses=[one for one in others if one != key])
    except NoteError as cause:
        raise _FaultError(Fault(place="checkpoint", reason="bad_checkpoint", detail=str(cause))) from cause


class _Walk:
    """One pass over all entries, in order, building the tree that they make."""

    def __init__(
        self, fetch: Fetch, checkpoint: Checkpoint, older: Checkpoint | None, tell: Callable[[int, int], None]
    ) -> None:
        self._fetch, self._tell = fetch, tell
        self._checkpoint = checkpoint
        self._older = older
        self._frontier = EMPTY
        self._open_tiles: dict[int, list[bytes]] = {}  # of each level, the expected hashes of the tile being filled
        self._differing: tuple[TilePath, int] | None = None  # the first hash that is not what the entries say
        self.tiles = 0

    def run(self) -> Fault | None:
        older, size = self._older, self._checkpoint.size
        if older is not None and older.size > size:
            detail = f"the log has size {size}; size {older.size} was signed before"
            return Fault(place="checkpoint", reason="rolled_back", detail=detail)
        forked = older is not None and older.size == 0 and older.root != EMPTY.root()
        for path in tiles_of_level(level=ENTRIES, size=size):
            hashes = [leaf_hash(entry) for entry in self._read_entries(path)]
            begin = self._frontier.size
            if older is not None and begin < older.size <= begin + len(hashes):
                forked = extend(self._frontier, hashes[: older.size - begin]).frontier.root() != older.root
            self._grow(hashes)
            self._tell(self._frontier.size, size)
        for level, hashes in self._open_tiles.items():
            if hashes:
                n = (size >> (ROW_HEIGHT * level)) // FULL_WIDTH
                self._compare(TilePath(level=level, n=n, width=len(hashes)), hashes)
        return self._judge(forked=forked)

    def _read_entries(self, path: TilePath) -> list[bytes]:
        data, whole = self._read(path)
        try:
            entries = decode_bundle(data)
        except BundleError as cause:
            raise _FaultError(self._locate_damage(path, cause)) from cause
        if len(entries) < path.width or (len(entries) > path.width and not whole):
            detail = f"{len(entries)} entries where {path.width} belong"
            raise _FaultError(self._locate_damage(path, BundleError(detail, entries[: path.width])))
        return entries[: path.width]

    def _locate_damage(self, path: TilePath, damage: BundleError) -> Fault:
        """Name the first entry of a malformed bundle that its tile does not vouch for."""
        tile, _ = self._read(TilePath(level=0, n=path.n, width=path.width))
        at = 0
        for entry, expected in zip(damage.entries, split_tile(tile[: path.width * HASH_BYTES]), strict=False):
            if leaf_hash(entry) != expected:
                break
            at += 1
        index = path.n * FULL_WIDTH + min(at, path.width - 1)
        return Fault(place=str(path), reason="malformed", detail=f"entry {index}: {damage}", entry=index)

    def _grow(self, hashes: list[bytes]) -> None:
        growth = extend(self._frontier, hashes)
        for level, new in growth.rows.items():
            tile = self._open_tiles.setdefault(level, [])
            tile += new
            if len(tile) == FULL_WIDTH:  # bundles are aligned, so a level fills up exactly
                n = (growth.frontier.size >> (ROW_HEIGHT * level)) // FULL_WIDTH - 1
                self._compare(TilePath(level=level, n=n), tile)
                tile.clear()
        self._frontier = growth.frontier

    def _compare(self, path: TilePath, expected: list[bytes]) -> None:
        data, whole = self._read(path)
        self.tiles += 1
        found = cut_tile(data, path.width)
        if found is None or (len(data) != len(found) and not whole):
            detail = f"{len(data)} bytes where {path.width * HASH_BYTES} belong"
            raise _FaultError(Fault(place=str(path), reason="malformed", detail=detail))
        if self._differing is None and found != b"".join(expected):
            at = next(i for i, pair in enumerate(zip(split_tile(found), expected, strict=True)) if pair[0] != pair[1])
            self._differing = (path, at)

    def _read(self, path: TilePath) -> tuple[bytes, bool]:
        """Return the resource, and whether it is the full one in place of the partial one (which may be deleted)."""
        if (data := self._fetch(str(path))) is not None:
            return data, False
        if path.width < FULL_WIDTH and (data := self._fetch(str(path.full()))) is not None:
            return data, True
        raise _FaultError(Fault(place=str(path), reason="missing", detail=f"{path} is not there"))

    def _judge(self, *, forked: bool) -> Fault | None:
        entries_hold = self._frontier.root() == self._checkpoint.root
        if self._differing is not None:
            return self._blame(*self._differing, entries_hold=entries_hold)
        if not entries_hold:
            detail = "entries and tiles agree, and make another root than the signed one"
            return Fault(place="checkpoint", reason="wrong_root", detail=detail)
        if forked and self._older is not None:
            detail = f"another root was signed at size {self._older.size}: keep both checkpoints, they are evidence"
            return Fault(place="checkpoint", reason="forked", detail=detail)
        return None

    def _blame(self, path: TilePath, at: int, *, entries_hold: bool) -> Fault:
        if entries_hold:
            detail = f"hash {at} of {path} is not the hash of what it stands for"
            return Fault(place=str(path), reason="wrong_hash", detail=detail, hash_index=at)
        index = (path.n * FULL_WIDTH + at) << (ROW_HEIGHT * path.level)
        n = index // FULL_WIDTH
        width = min(FULL_WIDTH, self._checkpoint.size - n * FULL_WIDTH)
        bundle = str(TilePath(level=ENTRIES, n=n, width=width))
        if self._root_over_tiles(path.level) != self._checkpoint.root:
            detail = f"entry {index} and hash {at} of {path} differ, and the signed root vouches for neither"
            return Fault(place=bundle, reason="entry_and_hash_differ", detail=detail, entry=index, hash_index=at)
        if path.level == 0:
            detail = f"entry {index} is not the one that was logged"
            return Fault(place=bundle, reason="wrong_entry", detail=detail, entry=index)
        # Entries and lower tiles were changed together; only the level above still knows.
        end = index + (1 << (ROW_HEIGHT * path.level))
        detail = f"an entry from {index} to {end - 1} is not the one that was logged"
        return Fault(place=bundle, reason="wrong_block", detail=detail, entry=index)

    def _root_over_tiles(self, level: int) -> bytes:
        """Return the root if the tiles of this level are taken for true, and the entries only beyond them."""
        frontier = EMPTY
        for path in tiles_of_level(level=level, size=self._checkpoint.size):
            data, _ = self._read(path)
            frontier = extend(frontier, split_tile(data[: path.width * HASH_BYTES])).frontier
        beyond = self._checkpoint.size & ((1 << (ROW_HEIGHT * level)) - 1)
        rest = self._frontier.pending[len(self._frontier.pending) - beyond.bit_count() :]
        return fold((*frontier.pending, *rest))
