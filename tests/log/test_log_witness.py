"""A witness to run elsewhere: every answer that the protocol knows, over raw HTTP, and a state that never goes back."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from tests_support.web import free_port, served

from hub.errors import Conflict, IntegrityBroken, UsageProblem
from hub.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from hub.log.merkle import EMPTY_ROOT, leaf_hash, tree_root
from hub.log.note import LogSigner
from hub.log.proofs import prove_consistency, read_memory
from hub.log.witness_protocol import MAX_REQUEST_BYTES, format_request
from hub.witness import keeping
from hub.witness.answering import answer_add, answer_last, witness_app
from hub.witness.keeping import WitnessFolder

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
NAME = "witness.example/w1"
HASHES = [leaf_hash(b"%d" % number) for number in range(70)]
READ = read_memory(HASHES)


def note_of(signer: LogSigner, size: int, *, root: bytes | None = None) -> bytes:
    return sign_checkpoint(signer, size=size, root=root or tree_root(HASHES[:size]))


def ask(signer: LogSigner, old: int, size: int, **changes: object) -> bytes:
    proof = prove_consistency(old_size=old, new_size=size, read_node=READ) if old <= size else []
    told = {"old_size": old, "proof": proof, "note": note_of(signer, size)} | changes
    return format_request(**told)  # type: ignore[arg-type]


@pytest.fixture
def witness(tmp_path: Path, signer: LogSigner) -> WitnessFolder:
    return keeping.create(tmp_path / "witness", NAME, [signer.vkey])


def post(port: int, body: bytes, *, path: str = "/add-checkpoint", method: str = "POST") -> tuple[int, bytes, bytes]:
    """Speak HTTP by hand; returns status, content type and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        head = f"{method} {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head_bytes, _, content = answer.partition(b"\r\n\r\n")
    lines = head_bytes.split(b"\r\n")
    kinds = [one.split(b": ", 1)[1] for one in lines if one.lower().startswith(b"content-type: ")]
    return int(lines[0].split(b" ")[1]), kinds[0], content


@pytest.fixture
def port(witness: WitnessFolder) -> Iterator[int]:
    with free_port() as (bound, origin), served(witness_app(witness, lambda: NOW), bound):
        yield int(origin.rpartition(":")[2])


def test_every_case_of_the_protocol_is_answered_as_it_says(
    port: int, witness: WitnessFolder, signer: LogSigner
) -> None:
    other_key, other_log = LogSigner(signer.name, b"o" * 32), LogSigner("another.example/log", b"a" * 32)
    size_type, plain = b"text/x.tlog.size", b"text/plain; charset=utf-8"
    wrong_root = sha256(b"fork").digest()
    key = witness.cosigner.verifier
    # In order: what is asked, the status, the type, and what the answer is.
    cases = [
        (ask(signer, 5, 7), 409, size_type, b"0\n"),
        (ask(signer, 0, 7), 200, plain, None),
        (ask(signer, 0, 7), 409, size_type, b"7\n"),
        (ask(signer, 7, 7), 200, plain, None),
        (ask(signer, 7, 7, proof=[wrong_root]), 422, plain, None),
        (ask(signer, 7, 7, note=note_of(signer, 7, root=wrong_root)), 422, plain, None),
        (ask(signer, 7, 64, note=note_of(signer, 64, root=wrong_root)), 422, plain, None),
        (ask(signer, 7, 64, proof=[]), 422, plain, None),
        (ask(signer, 7, 64, proof=[wrong_root] * 63), 422, plain, None),
        (ask(signer, 7, 64, proof=[wrong_root] * 64), 400, plain, None),
        (ask(signer, 8, 7), 400, plain, b"the old size is beyond the checkpoint\n"),
        (ask(other_key, 7, 64), 403, plain, None),
        (ask(other_log, 7, 64), 404, plain, None),
        (ask(signer, 7, 64, note=note_of(signer, 64).replace(b"\xe2\x80\x94", b"-")), 400, plain, None),
        (b"", 400, plain, None), (b"old 7\n\nhello\n\n", 400, plain, None),
        (b"old 07\n\n" + note_of(signer, 7), 400, plain, None),
        (b"old 7\nAA==\n\n" + note_of(signer, 7), 400, plain, None), (b"old -1\n\n" + note_of(signer, 7), 400, plain, None),
        (b"old 7" + note_of(signer, 7), 400, plain, None), (b"old " + b"9" * 30 + b"\n\n" + note_of(signer, 7), 400, plain, None),
        (ask(signer, 7, 64) + b"x" * MAX_REQUEST_BYTES, 400, plain, b"the request is too long\n"),
        (ask(signer, 7, 64), 200, plain, None),
        (ask(signer, 64, 70), 200, plain, None),
        # Older states of the same log, and where it never was, are no more than a conflict.
        (ask(signer, 7, 64), 409, size_type, b"70\n"),
        (ask(signer, 64, 64), 409, size_type, b"70\n"),
    ]  # fmt: skip
    for number, (body, status, kind, answer) in enumerate(cases):
        got = post(port, body)
        assert got[:2] == (status, kind), (number, got)
        assert answer is None or got[2] == answer, (number, got)
        if status == 200:
            note = body.partition(b"\n\n")[2]
            opened = open_checkpoint(note + got[2], signer.verifier, witnesses=[key], quorum=1)
            last = witness.load_last(signer.name)
            assert last is not None
            assert last.checkpoint == opened
    assert post(port, b"", method="GET")[0] in (404, 405)
    assert post(port, b"", path="/elsewhere")[0] in (404, 405)
    origin = sha256(signer.name.encode()).hexdigest()
    status, kind, content = post(port, b"", path=f"/{origin}/checkpoint", method="GET")
    assert (status, kind) == (200, plain)
    assert open_checkpoint(content, signer.verifier, witnesses=[key], quorum=1).size == 70
    assert post(port, b"", path=f"/{sha256(b'?').hexdigest()}/checkpoint", method="GET")[0] == 404


def test_a_checkpoint_carries_its_time_and_further_lines_of_anybody_are_passed_over(
    witness: WitnessFolder, signer: LogSigner
) -> None:
    stranger = LogSigner("stranger.example", b"s" * 32)
    text = Checkpoint(origin=signer.name, size=9, root=tree_root(HASHES[:9])).to_text() + "an extension line\n"
    note = f"{text}\n{stranger.sign_line(text)}{signer.sign_line(text)}".encode()
    answered = answer_add(witness, format_request(old_size=0, proof=[], note=note), now_s=NOW_S)
    assert answered.status == 200
    whole = note + answered.body
    assert open_checkpoint(whole, signer.verifier, witnesses=[witness.cosigner.verifier], quorum=1).size == 9
    kept = answer_last(witness, sha256(signer.name.encode()).hexdigest()).body
    assert b"stranger.example" not in kept
    assert b"an extension line" in kept


def test_the_empty_tree_is_cosigned_too(witness: WitnessFolder, signer: LogSigner) -> None:
    empty = note_of(signer, 0, root=EMPTY_ROOT)
    for _ in range(2):
        assert answer_add(witness, format_request(old_size=0, proof=[], note=empty), now_s=NOW_S).status == 200
    forged = note_of(signer, 0, root=bytes(31) + b"\x01")
    assert answer_add(witness, format_request(old_size=0, proof=[], note=forged), now_s=NOW_S).status == 422
    assert answer_add(witness, ask(signer, 0, 3), now_s=NOW_S).status == 200


def test_of_many_that_ask_at_once_none_takes_the_state_back(
    port: int, witness: WitnessFolder, signer: LogSigner
) -> None:
    assert post(port, ask(signer, 0, 7))[0] == 200
    sizes = [*range(8, 40)] * 2
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda size: post(port, ask(signer, 7, size)), sizes))
    granted = [size for size, (status, _, _) in zip(sizes, answers, strict=True) if status == 200]
    # One of them moved the witness on from 7; every other one came too late and is told where it stands.
    assert len(granted) == 1
    assert {body for status, _, body in answers if status == 409} == {b"%d\n" % granted[0]}
    last = witness.load_last(signer.name)
    assert last is not None
    assert last.checkpoint.size == granted[0]


def test_two_processes_of_one_folder_are_one_witness(witness: WitnessFolder, signer: LogSigner) -> None:
    second = keeping.load(witness.folder)
    assert answer_add(witness, ask(signer, 0, 7), now_s=NOW_S).status == 200
    assert answer_add(second, ask(signer, 0, 9), now_s=NOW_S).body == b"7\n"
    assert answer_add(second, ask(signer, 7, 9), now_s=NOW_S).status == 200
    assert answer_add(witness, ask(signer, 7, 8), now_s=NOW_S).body == b"9\n"


def test_what_was_cosigned_is_on_the_disk_before_it_is_answered(
    witness: WitnessFolder, signer: LogSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    assert answer_add(witness, ask(signer, 0, 7), now_s=NOW_S).status == 200
    monkeypatch.setattr("hub.witness.keeping.os.replace", full)
    with pytest.raises(OSError, match="no space"):
        answer_add(witness, ask(signer, 7, 9), now_s=NOW_S)
    monkeypatch.undo()
    last = keeping.load(witness.folder).load_last(signer.name)
    assert last is not None
    assert last.checkpoint.size == 7
    assert answer_add(witness, ask(signer, 7, 9), now_s=NOW_S).status == 200


def test_a_witness_without_its_state_does_not_go_on(witness: WitnessFolder, signer: LogSigner) -> None:
    assert answer_add(witness, ask(signer, 0, 7), now_s=NOW_S).status == 200
    state = witness.folder / "state.json"
    right = state.read_bytes()
    told = json.loads(right)
    told[signer.name]["size"] = 3
    for content in (b"", b"[]", b"{", json.dumps(told).encode()):
        state.write_bytes(content)
        with pytest.raises(IntegrityBroken, match="damaged"):
            keeping.load(witness.folder)
        with pytest.raises(IntegrityBroken, match="damaged"):
            answer_add(witness, ask(signer, 7, 9), now_s=NOW_S)
    state.unlink()
    for again in (lambda: keeping.load(witness.folder), lambda: answer_add(witness, ask(signer, 0, 9), now_s=NOW_S)):
        with pytest.raises(IntegrityBroken, match="lost"):
            again()
    state.write_bytes(right)
    assert answer_add(keeping.load(witness.folder), ask(signer, 7, 9), now_s=NOW_S).status == 200


def test_a_folder_is_made_once_and_its_key_is_its_owner_s_only(witness: WitnessFolder, signer: LogSigner) -> None:
    folder = witness.folder
    assert (folder.stat().st_mode & 0o77, (folder / "witness.key").stat().st_mode & 0o77) == (0, 0)
    assert keeping.load(folder).cosigner.verifier == witness.cosigner.verifier
    with pytest.raises(Conflict, match="already"):
        keeping.create(folder, NAME, [])
    with pytest.raises(Conflict, match="trusted already"):
        keeping.trust(folder, signer.vkey)
    newer = LogSigner(signer.name, b"n" * 32)
    assert answer_add(witness, ask(newer, 0, 7), now_s=NOW_S).status == 403
    trusting = keeping.trust(folder, newer.vkey)
    assert len(keeping.load(folder).logs) == 2
    assert answer_add(trusting, ask(newer, 0, 7), now_s=NOW_S).status == 200


def test_what_is_no_witness_is_told_in_a_sentence(tmp_path: Path, witness: WitnessFolder) -> None:
    with pytest.raises(UsageProblem, match="`tanlian witness init` makes one"):
        keeping.load(tmp_path / "nowhere")
    with pytest.raises(UsageProblem, match="a log signs with type 01"):
        keeping.trust(witness.folder, witness.cosigner.verifier.to_vkey())
    for name, vkeys in (("two words", []), (NAME, ["nokey"])):
        with pytest.raises(UsageProblem):
            keeping.create(tmp_path / "other", name, vkeys)
    (witness.folder / "witness.key").write_text(b64encode(bytes(32)).decode())
    with pytest.raises(UsageProblem, match="cannot be read"):
        keeping.load(witness.folder)
