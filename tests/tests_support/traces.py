"""Traces of a person: every form in which a name could lie about, and every place where it could lie."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, inspect, text

from hub.db import reading
from hub.log.tiles import decode_bundle

HASHES = ("sha256", "sha1", "md5", "sha512", "sha3_256", "blake2b", "sm3")


def forms_of(name: str) -> dict[str, bytes]:
    """Return a name as plain text, in the usual encodings, and under the usual hashes without a key; by what each is."""
    spelt = {"as it is": name, "lower": name.lower(), "upper": name.upper()}
    found = {f"{how}": word.encode() for how, word in spelt.items()}
    found |= {
        "utf-16": name.encode("utf-16-le"), "gb18030": name.encode("gb18030"), "percent": quote(name).encode(),
        "json": json.dumps(name).encode()[1:-1], "reversed": name[::-1].encode(),
    }  # fmt: skip
    found |= {f"base64 at {shift}": part for shift, part in _base64(name.encode())}
    for how, data in [*found.items()][:3]:
        found |= {f"hex, {how}": data.hex().encode(), f"HEX, {how}": data.hex().upper().encode()}
        for kind in HASHES:
            if kind in hashlib.algorithms_available:
                digest = hashlib.new(kind, data).digest()
                found |= {
                    f"{kind}, {how}": digest, f"{kind} in hex, {how}": digest.hex().encode(),
                    f"{kind} in base64, {how}": base64.b64encode(digest).rstrip(b"="),
                    f"{kind} in base64url, {how}": base64.urlsafe_b64encode(digest).rstrip(b"="),
                }  # fmt: skip
    return found


def _base64(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the characters of base64 that do not depend on what stands before and behind, for each of the alignments."""
    for shift in range(3):
        inner = base64.b64encode(bytes(shift) + data)
        first, last = (4 if shift else 0), len(inner) - (4 if (shift + len(data)) % 3 else 0)
        if last - first >= 8:
            yield shift, inner[first:last]


def stored(engine: Engine) -> dict[str, bytes]:
    """Return every table as the bytes of all its columns in all its rows."""
    places = {}
    with reading(engine) as session:
        for table in inspect(engine).get_table_names():
            cells = []
            for row in session.execute(text(f'SELECT * FROM "{table}"')):
                for cell in row:
                    cells.append(bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode())
            places[f"table {table}"] = b"\x00".join(cells)
    return places


def leaves(engine: Engine) -> bytes:
    """Return every leaf of the log, and every text in it as the bytes that its hex stands for."""
    told = []
    with reading(engine) as session:
        for (data,) in session.execute(text("SELECT data FROM log_body ORDER BY leaf_id")):
            for entry in decode_bundle(bytes(data)):
                told += [entry, *_values(json.loads(entry))]
    return b"\x00".join(told)


def _values(value: object) -> Iterator[bytes]:
    match value:
        case dict():
            for inner in value.values():
                yield from _values(inner)
        case list():
            for inner in value:
                yield from _values(inner)
        case str():
            yield value.encode()
            if len(value) % 2 == 0 and all(one in "0123456789abcdef" for one in value):
                yield bytes.fromhex(value)


def files(*folders: Path) -> dict[str, bytes]:
    """Return every file below these folders, whatever it is."""
    return {
        f"file {path.relative_to(folder)}": path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def search(places: dict[str, bytes], names: dict[str, str]) -> list[str]:
    """Return which name lies where, and in which form."""
    return [
        f"{what} in {place} ({how})"
        for what, name in names.items()
        for how, form in forms_of(name).items()
        for place, data in places.items()
        if form in data
    ]
