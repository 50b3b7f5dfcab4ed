"""attest: check an attestation offline; list, show and revoke those of this hub. I/O: files, terminal, the database.

`verify` opens no database and no connection: it needs the file, the issuer's public keys and, for its status, a copy of the
list. The other commands name people by the names that their recipients know them by, and say nothing of what is attested.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select
from sqlmodel import col

from consent.keyfiles import key_paths
from consent.keyring import ATTESTATION, load_keyring
from hub.attestations.content import BY_CATEGORY, BY_REGION, SINGLE
from hub.attestations.ending import Reason
from hub.attestations.lists import uri_of
from hub.attestations.store import require_attestation, revoke_attestation, state_of, subject_of
from hub.attestations.tables import Attestation
from hub.attestations.verify import (
    MOST_BYTES,
    AttestationInvalid,
    Expected,
    IssuerKeys,
    Status,
    Verified,
    parse_keys,
    verify_attestation,
)
from hub.clock import system_clock
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, fail, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.settings import Settings
from hub.staff.rights import AccessPurpose

MOST_LIST_BYTES = 512 * 1024
AttestationId = Annotated[str, typer.Argument(help="An id such as att_…, from `attest list` or a statement's `jti`.")]

attest = typer.Typer(help="Attestations of cleared totals.", no_args_is_help=True)


@attest.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="The statement: .sdjwt text.")],
    jwks: Annotated[
        Path | None,
        typer.Option(
            help="The issuer's public keys, as it publishes them at /.well-known/jwt-vc-issuer. Default: this hub's."
        ),
    ] = None,
    status: Annotated[Path | None, typer.Option(help="A copy of the status list that the statement names.")] = None,
    audience: Annotated[str | None, typer.Option(help="Who you are: it must be for you, or bound to you.")] = None,
    nonce: Annotated[str | None, typer.Option(help="What you had its holder sign.")] = None,
    max_age: Annotated[int | None, typer.Option(min=0, help="How old the status list may be, in seconds.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Check a statement without database and network; exit code 1 if it proves nothing or is revoked."""
    expected = Expected(
        audience=audience, nonce=nonce, most_status_age=None if max_age is None else timedelta(seconds=max_age)
    )
    text = _read(file, MOST_BYTES)
    listed = None if status is None else _read(status, MOST_LIST_BYTES)
    try:
        verified = verify_attestation(text, _keys(jwks), now=system_clock(), expected=expected, status_list=listed)
    except AttestationInvalid as invalid:
        if as_json:
            print_json({"valid": False, "problem": str(invalid)})
        raise UsageProblem(f"{file}: not a valid attestation: {invalid}") from None
    good = verified.status is not Status.REVOKED
    if as_json:
        print_json(_document(verified, good=good))
    else:
        _tell(verified, good=good)
    if not good:
        fail(f"{file}: revoked")


@attest.command("list")
@leaves_a_trace("staff.attest_list", AccessPurpose.OPERATION)
def list_all(
    recipient: Annotated[str | None, typer.Option(help="Only those of this client, or `self`.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the newest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List attestations: for whom, about whom by that recipient's name for them, and how they stand."""
    query = select(Attestation).order_by(col(Attestation.created_at).desc(), col(Attestation.attestation_id))
    if recipient is not None:
        query = query.where(col(Attestation.recipient) == recipient)
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = [_row(hub, row) for row in session.scalars(query.limit(limit))]
    if as_json:
        print_json(rows)
        return
    names = ["attestation", "recipient", "subject", "created_at", "state"]
    cells = [[*(row[name] for name in names[:3]), f"{row['created_at']:%Y-%m-%d %H:%M}Z", row["state"]] for row in rows]
    table("Attestations", names, cells)


@attest.command("show")
@leaves_a_trace("staff.attest_show", AccessPurpose.OPERATION)
def show(attestation_id: AttestationId, as_json: bool = AS_JSON) -> None:
    """Show how one attestation stands and where its bit is; not what it says."""
    with opened_hub() as hub, reading(hub.engine) as session:
        row = _row(hub, require_attestation(session, attestation_id))
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        out.print(f"{name}: {value if value is not None else '–'}", highlight=False, markup=False, soft_wrap=True)


@attest.command("revoke")
@leaves_a_trace("staff.attest_revoke", AccessPurpose.OPERATION, ends=True)
def revoke(attestation_id: AttestationId, as_json: bool = AS_JSON) -> None:
    """Revoke an attestation for good; logged. The person sees that the operator did it."""
    with opened_hub() as hub, writing(hub.engine) as session:
        row = require_attestation(session, attestation_id)
        done = revoke_attestation(session, row, Reason.BY_OPERATOR, hub.clock())
        told = _row(hub, row)
    if as_json:
        print_json({**told, "revoked_now": done})
        return
    out.print(f"{attestation_id}: {'revoked' if done else 'was revoked before'}")


def _row(hub: Hub, row: Attestation) -> dict[str, Any]:
    return {
        "attestation": row.attestation_id,
        "recipient": row.recipient,
        "subject": subject_of(hub.ring, row),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "state": state_of(row, hub.clock()).value,
        "revoked_at": row.revoked_at,
        "reason": row.reason,
        "status_list": uri_of(hub.settings.issuer, row.list_id),
        "index": row.list_index,
    }


def _document(verified: Verified, *, good: bool) -> dict[str, Any]:
    return {
        "valid": good,
        "status": verified.status.value,
        "status_at": verified.status_at,
        "holder_proved": verified.holder_proved,
        "disclosed": list(verified.disclosed),
        "hidden": verified.hidden,
        "claims": verified.claims,
    }


def _tell(verified: Verified, *, good: bool) -> None:
    claims = verified.claims
    out.print("The attestation is genuine: one of these keys signed it, and it was not changed since.")
    lines = [
        ("by", claims["iss"]), ("about", claims.get("sub", "–")), ("acts of", f"{claims['from']} to {claims['until']}"),
        *((name, claims[name]) for name in SINGLE if name in claims),
        *((f"{group}.{part}", mg) for group in (BY_CATEGORY, BY_REGION) for part, mg in claims.get(group, {}).items()),
        ("what counts for it", "the whole account" if claims.get("scope") == "account" else "what the person's consent names"),
        ("holder", "proved the key that it names" if verified.holder_proved else "not proved"),
    ]  # fmt: skip
    at = "" if verified.status_at is None else f", as of {verified.status_at:%Y-%m-%d %H:%M:%S}Z"
    if verified.status is Status.NOT_CHECKED:
        uri = claims["status"]["status_list"]["uri"]
        lines.append(("status", f"not checked; it can have been revoked. Fetch {uri} and give it with --status"))
    else:
        lines.append(("status", ("not revoked" if good else "REVOKED") + at))
    for name, value in lines:
        out.print(f"  {name}: {value}", highlight=False, markup=False, soft_wrap=True)


def _keys(place: Path | None) -> IssuerKeys:
    if place is not None:
        try:
            return parse_keys(json.loads(_read(place, MOST_LIST_BYTES)))
        except ValueError:
            raise UsageProblem(f"{place}: not a set of keys") from None
    settings = Settings()
    if not key_paths(settings.keys_dir, ATTESTATION):
        raise UsageProblem("give --jwks FILE: what the issuer publishes at /.well-known/jwt-vc-issuer")
    published = load_keyring(settings.keys_dir).published_for_attestations()
    return parse_keys({"issuer": settings.issuer, "jwks": {"keys": published}})


def _read(file: Path, most: int) -> str:
    try:
        with file.open("rb") as source:
            content = source.read(most + 1)
        return content.decode("ascii")
    except OSError as cause:
        raise UsageProblem(f"{file}: {cause.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{file}: not such a file: it holds more than plain letters") from None
