"""receipts: verify a receipt without the hub that gave it. I/O: files, terminal; the network only to fetch keys."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from consent.receipts import MOST_BYTES, ReceiptInvalid, verify_receipt
from hub.commands.console import AS_JSON, out, print_json
from hub.errors import UsageProblem

TIMEOUT_S = 20.0

receipts = typer.Typer(help="Receipts of consents.", no_args_is_help=True)


@receipts.callback()
def group() -> None:
    """Keep `verify` a command of its own, where there is no other."""


@receipts.command("verify")
def verify(
    file: Path,
    jwks: Annotated[str, typer.Option(help="The hub's public keys: a file, or the address of /oauth/jwks.")],
    as_json: bool = AS_JSON,
) -> None:
    """Check who signed a receipt and that nothing in it was changed; exit code 1 if not."""
    statement, keys = _read(file), _load_keys(jwks)
    try:
        claims = verify_receipt(statement, keys)
    except ReceiptInvalid as invalid:
        raise UsageProblem(f"{file}: not a valid receipt: {invalid}") from None
    digest = sha256(statement.strip().encode()).hexdigest()
    if as_json:
        print_json({"valid": True, "digest": digest, "receipt": claims})
        return
    processing, event = claims["pii_processing"], claims["event"]
    out.print("The receipt is valid: it was signed with one of these keys and was not changed since.")
    for name, value in (
        ("by", claims["iss"]),
        ("receipt", claims["jti"]),
        ("decision", f"{event['event_state']} at {event['event_time']}"),
        ("consent", f"{claims['record_metadata']['record_id']}, version {claims['record_metadata']['version']}"),
        ("to", ", ".join(party["party_name"] for party in claims["party_identification"])),
        ("purposes", ", ".join(purpose["code"] for purpose in processing["purposes"])),
        ("behaviours", ", ".join(one["pii_type"] for one in processing["pii_information"])),
        ("from platforms", ", ".join(processing["pii_sources"])),
        ("in force", f"{processing['consent_start']} until {processing['consent_expiry']}"),
        ("notice", f"{processing['privacy_notice']['id']} {processing['privacy_notice'].get('sha256', '')}".strip()),
        ("digest", f"{digest} (stands in the log leaf of the change)"),
    ):
        out.print(f"  {name}: {value}", highlight=False, markup=False, soft_wrap=True)


def _read(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise UsageProblem(f"{file}: {cause.strerror}") from None
    try:
        return content[: MOST_BYTES + 1].decode("ascii")
    except UnicodeDecodeError:
        raise UsageProblem(f"{file}: not a receipt") from None


def _load_keys(place: str) -> dict[str, Any]:
    if place.startswith(("http://", "https://")):
        try:
            answer = httpx.get(place, timeout=TIMEOUT_S, follow_redirects=False).raise_for_status()
        except httpx.HTTPError as cause:
            raise UsageProblem(f"{place}: {type(cause).__name__}") from None
        content = answer.text
    else:
        try:
            content = Path(place).read_text(encoding="utf-8")
        except OSError as cause:
            raise UsageProblem(f"{place}: {cause.strerror}") from None
        except UnicodeDecodeError:
            raise UsageProblem(f"{place}: not a set of keys") from None
    try:
        keys = json.loads(content)
    except ValueError:
        raise UsageProblem(f"{place}: not a set of keys") from None
    if not isinstance(keys, dict):
        raise UsageProblem(f"{place}: not a set of keys")
    return keys
