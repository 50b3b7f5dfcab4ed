"""What a witness answers: the rules of add-checkpoint, and the last checkpoint for whoever monitors. I/O: its folder, HTTP.

Source: C2SP tlog-witness. In order: 400 not of the form; 404 a log that is not known; 403 none of its trusted keys
signed; 400 the old size is beyond the checkpoint; 409 the old size is not the last that was cosigned (the answer names
that); 422 the proof does not show the growth, or one size has two roots; 200 with the cosignature, once the checkpoint is
on the disk.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import structlog
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from hub.api.bodies import BodyTooLarge, read_bounded
from hub.clock import Clock
from hub.log.checkpoint import Checkpoint, open_by_any, parse_checkpoint
from hub.log.merkle import EMPTY_ROOT
from hub.log.note import NoteError, VerifierKey, parse_note
from hub.log.proofs import ProofError, verify_consistency
from hub.log.witness_protocol import MAX_REQUEST_BYTES, SIZE_TYPE, AddCheckpoint, add_lines, parse_request
from hub.witness.keeping import HeldState, WitnessFolder

log = structlog.get_logger(__name__)

PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer: status, body and content type."""

    status: int
    body: bytes
    kind: str = PLAIN


def answer_add(witness: WitnessFolder, body: bytes, *, now_s: int) -> Answered:
    """Answer one add-checkpoint request; whatever is cosigned is on the disk before this returns."""
    try:
        asked = parse_request(body)
        claimed = parse_checkpoint(parse_note(asked.note)[0])
    except NoteError as cause:
        return _refuse(400, str(cause))
    keys = witness.keys_of(claimed.origin)
    if not keys:
        return _refuse(404, "this log is not known here")
    try:
        checkpoint = open_by_any(asked.note, keys)
    except NoteError as cause:
        return _refuse(403, str(cause))
    if asked.old_size > checkpoint.size:
        return _refuse(400, "the old size is beyond the checkpoint")
    with witness.holding() as state:
        return _cosign(witness, state, asked, checkpoint, now_s)


def _cosign(
    witness: WitnessFolder, state: HeldState, asked: AddCheckpoint, checkpoint: Checkpoint, now_s: int
) -> Answered:
    last = state.load(checkpoint.origin)
    size, root = (0, EMPTY_ROOT) if last is None else (last.checkpoint.size, last.checkpoint.root)
    if asked.old_size != size:
        return Answered(status=409, body=b"%d\n" % size, kind=SIZE_TYPE)
    try:
        verify_consistency(
            old_size=size, old_root=root, new_size=checkpoint.size, new_root=checkpoint.root, proof=asked.proof
        )
    except ProofError as cause:
        # Signed by the log and not grown from what it signed before: both checkpoints together are evidence.
        log.error("witness_refused", origin=checkpoint.origin, cosigned=size, offered=checkpoint.size)
        return _refuse(422, str(cause))
    text, note = _own_lines(asked.note, witness.keys_of(checkpoint.origin))
    cosignature = witness.cosigner.cosign(text, now_s)
    state.store(add_lines(note, [cosignature.line]))
    return Answered(status=200, body=cosignature.line.encode())


def _own_lines(note: bytes, keys: Sequence[VerifierKey]) -> tuple[str, bytes]:
    """Return the note's text, and the note with the trusted keys' lines only: anybody may have added others."""
    text, signatures = parse_note(note)
    trusted = {(key.name, key.key_id) for key in keys}
    lines = [f"\u2014 {name} {b64encode(blob).decode()}\n" for name, blob in signatures if (name, blob[:4]) in trusted]
    return text, f"{text}\n{''.join(lines)}".encode()


def answer_last(witness: WitnessFolder, origin_hash: str) -> Answered:
    """Answer with the last checkpoint that was cosigned of the log whose origin has this SHA-256, cosignature included."""
    for origin in {key.name for key in witness.logs}:
        if sha256(origin.encode()).hexdigest() == origin_hash and (last := witness.load_last(origin)) is not None:
            return Answered(status=200, body=last.note)
    return _refuse(404, "nothing was cosigned for such a log")


def witness_app(witness: WitnessFolder, clock: Clock) -> FastAPI:
    """Build the witness's two addresses: its submission and its monitoring prefix are one."""
    app = FastAPI(title="Tanlian witness", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await read_bounded(request, MAX_REQUEST_BYTES)
        except BodyTooLarge:
            return _respond(_refuse(400, "the request is too long"))
        now_s = int(clock().timestamp())
        return _respond(await run_in_threadpool(answer_add, witness, body, now_s=now_s))

    @app.get("/{origin_hash}/checkpoint")
    def last(origin_hash: str) -> Response:
        return _respond(answer_last(witness, origin_hash))

    return app


def _refuse(status: int, why: str) -> Answered:
    return Answered(status=status, body=why.encode() + b"\n")


def _respond(answered: Answered) -> Response:
    # As a header of its own: the framework would add a charset to text/x.tlog.size, which names none.
    return Response(answered.body, answered.status, {"content-type": answered.kind, "cache-control": "no-store"})
