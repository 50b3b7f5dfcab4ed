"""A signed ZIP of everything about one person, and how anybody checks it. Pure.

    account.json      everything, as one JSON document
    csv/*.csv         the same, one table a file, for a spreadsheet
    signature.jws     a compact JWS by the hub over the digest of every other file
    README.txt        what this is and how to check it

A spreadsheet runs a text that begins like a formula, so such a text gets an apostrophe in front; in account.json it stands
as it is. Source: OWASP, "CSV Injection"; RFC 7515.
"""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import IO, Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

TYPE = "tanlian-export+jws"
SIGNATURE = "signature.jws"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
MOST_BYTES = 1 << 30
README = """您的个人数据副本 / Everything that Tanlian keeps about you

account.json is complete. The files in csv/ are the same for a spreadsheet; there, a text that a spreadsheet would take for
a formula begins with an apostrophe. Times are UTC, masses are whole milligrams of CO2e.

signature.jws is a JSON Web Signature (RFC 7515, ES256). Its payload names the SHA-256 of every other file; its key is
published at {issuer}/oauth/jwks under the key id in its header.
"""

Section = Sequence[Mapping[str, Any]]


class ArchiveInvalid(ValueError):
    """The archive is none, was changed, or nobody whose keys these are has signed it."""


def write_archive(
    target: IO[bytes],
    profile: Mapping[str, Any],
    sections: Mapping[str, Section],
    *,
    key: ECKey,
    issuer: str,
    now: datetime,
) -> None:
    """Write the archive of a person.

    Args:
        profile: goes into account.json only. sections: each is a member of account.json and a CSV file.
    """
    document = {"profile": profile, **sections, "issuer": issuer, "exported_at": now}
    text = json.dumps(document, ensure_ascii=False, indent=1, default=_plain)
    files = {"README.txt": README.format(issuer=issuer).encode(), "account.json": text.encode()}
    files |= {f"csv/{name}.csv": format_csv(rows) for name, rows in sections.items()}
    claims = {
        "iss": issuer,
        "iat": int(now.timestamp()),
        "files": {name: sha256(content).hexdigest() for name, content in files.items()},
    }
    header = {"alg": "ES256", "typ": TYPE, "kid": key.kid}
    files[SIGNATURE] = jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=["ES256"]).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=now.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def verify_archive(source: IO[bytes], jwks: Mapping[str, Any]) -> dict[str, Any]:
    """Return account.json of an archive that one of these public keys signed. Needs no hub.

    Raises:
        ArchiveInvalid: not an archive, a file that is not named or was changed, or signed by none of these keys.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise ArchiveInvalid("too large")
            files = {name: archive.read(name) for name in archive.namelist()}
        checked = jws.deserialize_compact(
            files.pop(SIGNATURE).decode(), KeySet.import_key_set({"keys": list(jwks["keys"])}), algorithms=["ES256"]
        )
        claims = json.loads(checked.payload or b"")
        if checked.headers().get("typ") != TYPE:
            raise ArchiveInvalid("signed, but not as an export")
        if {name: sha256(content).hexdigest() for name, content in files.items()} != claims["files"]:
            raise ArchiveInvalid("a file was changed, added or left out")
        account: dict[str, Any] = json.loads(files["account.json"])
    except (zipfile.BadZipFile, JoseError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as cause:
        raise ArchiveInvalid("not an archive that these keys signed") from cause
    return account


def format_csv(rows: Section) -> bytes:
    """Write rows as CSV; the columns are those of the first row."""
    out = io.StringIO(newline="")
    if rows:
        names = list(rows[0])
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([[_cell(row[name]) for name in names] for row in rows])
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    """Numbers stay numbers; a text that a spreadsheet would run is made text.

    Example:
        >>> _cell(-5), _cell("-5"), _cell("=1+1"), _cell(None), _cell(True)
        (-5, "'-5", "'=1+1", '', 'true')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, default=_plain)
    else:
        text = value if isinstance(value, str) else _plain(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
