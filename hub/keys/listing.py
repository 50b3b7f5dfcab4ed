"""Which keys there are and what hangs on them. I/O: the key directory, the database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from consent.keyfiles import RETIRED, key_paths
from consent.keyring import KeyPurpose
from hub.context import Hub
from hub.db import reading
from hub.keys.rotation import FILES, KeyKind, count_hanging
from hub.records.naming import load_naming


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """One key; `values` is how many stored values can only be opened with it, None where that is not the question."""

    key_id: str
    kind: str
    state: str
    since: datetime
    values: int | None = None


def list_keys(hub: Hub) -> list[KeyLine]:
    """Return all keys of the hub itself, oldest first within each kind; keys towards single platforms are left out."""
    hub.ring.refresh()
    lines: list[KeyLine] = []
    for kind, files in FILES.items():
        lines += [_line(hub, path, str(kind), "retired") for path in key_paths(hub.ring.directory / RETIRED, files)]
        lines += [
            _line(hub, path, str(kind), _state(hub, kind, path.stem)) for path in key_paths(hub.ring.directory, files)
        ]
    for purpose in KeyPurpose:
        if purpose is not KeyPurpose.PAIRWISE:
            paths = key_paths(hub.ring.directory, f"hmac-{purpose}")
            lines += [_line(hub, path, str(purpose), "in use, cannot be rotated") for path in paths]
    return lines


def _line(hub: Hub, path: Path, kind: str, state: str) -> KeyLine:
    is_sealing = kind == KeyKind.KEY_ENCRYPTION and state != "retired"
    return KeyLine(
        key_id=path.stem,
        kind=kind,
        state=state,
        since=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        values=count_hanging(hub, path.stem) if is_sealing else None,
    )


def _state(hub: Hub, kind: KeyKind, key_id: str) -> str:
    ring = hub.ring
    if key_id in ring.keys.waits:
        return f"published, signs from {ring.keys.waits[key_id]:%Y-%m-%d %H:%M}Z"
    match kind:
        case KeyKind.KEY_ENCRYPTION:
            return "in use" if key_id == ring.kek_id else "opens what it sealed"
        case KeyKind.SIGNING:
            return "in use" if key_id == ring.signing_key.kid else "published, signs no more"
        case KeyKind.ATTESTATION:
            return "in use" if key_id == ring.attestation_key.kid else "published, signs no more"
        case KeyKind.LOG:
            return "in use" if key_id == ring.log_seeds[-1].key_id else "signs beside the newest"
        case KeyKind.PAIRWISE:
            with reading(hub.engine) as session:
                current = load_naming(session, ring).current.key_id
            return "in use" if key_id == current else "finds what it named"
