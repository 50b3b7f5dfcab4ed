"""Signed notes, checkpoints and tlog-proofs against the published vectors, and against forgeries."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.log.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, parse_unverified, sign_checkpoint
from hub.log.merkle import EMPTY_ROOT
from hub.log.note import LogSigner, NoteError, VerifierKey, open_note, parse_vkey
from hub.log.proofs import ProofError
from hub.log.tlogproof import format_proof, parse_proof, verify_leaf


@pytest.fixture(scope="module")
def log_signer(vectors: dict[str, Any]) -> LogSigner:
    checkpoint_origin = vectors["checkpoint"].split("\n")[0]
    return LogSigner(checkpoint_origin, bytes.fromhex(vectors["log_key"]["seed_hex"]))


@pytest.fixture(scope="module")
def witness(vectors: dict[str, Any]) -> VerifierKey:
    return parse_vkey(vectors["witness_key"]["vkey"])


def test_a_seed_gives_the_published_verifier_key(vectors: dict[str, Any], log_signer: LogSigner) -> None:
    assert log_signer.vkey == vectors["log_key"]["vkey"]
    assert parse_vkey(log_signer.vkey) == log_signer.verifier


def test_a_checkpoint_is_signed_as_published(vectors: dict[str, Any], log_signer: LogSigner) -> None:
    root = bytes.fromhex(vectors["roots_by_size"][8])
    note = sign_checkpoint(log_signer, size=8, root=root)
    cosigned = parse_proof(vectors["tlog_proof_index5"].encode()).checkpoint
    assert note == vectors["checkpoint"].encode()
    assert cosigned.startswith(note)
    assert sign_checkpoint(log_signer, size=0, root=EMPTY_ROOT) == vectors["empty_checkpoint"].encode()
    expected = Checkpoint(origin=log_signer.name, size=8, root=root)
    assert open_checkpoint(note, log_signer.verifier) == expected
    assert open_checkpoint(cosigned, log_signer.verifier) == expected
    assert parse_unverified(note) == expected


def test_a_quorum_of_witnesses_is_counted(vectors: dict[str, Any], log_signer: LogSigner, witness: VerifierKey) -> None:
    cosigned = parse_proof(vectors["tlog_proof_index5"].encode()).checkpoint
    assert open_checkpoint(cosigned, log_signer.verifier, witnesses=[witness], quorum=1).size == 8
    alone = sign_checkpoint(log_signer, size=8, root=bytes.fromhex(vectors["roots_by_size"][8]))
    with pytest.raises(NoteError, match="quorum"):
        open_checkpoint(alone, log_signer.verifier, witnesses=[witness], quorum=1)
    with pytest.raises(NoteError, match="quorum"):
        open_checkpoint(cosigned, log_signer.verifier, quorum=1)


def test_every_one_bit_change_of_a_checkpoint_is_refused(vectors: dict[str, Any], log_signer: LogSigner) -> None:
    note = sign_checkpoint(log_signer, size=8, root=bytes.fromhex(vectors["roots_by_size"][8]))
    for bit in range(len(note) * 8):
        changed = bytearray(note)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NoteError):
            open_checkpoint(bytes(changed), log_signer.verifier)


def test_a_known_key_with_a_wrong_signature_sinks_the_note_and_an_unknown_key_does_not(
    vectors: dict[str, Any], log_signer: LogSigner, witness: VerifierKey
) -> None:
    note = sign_checkpoint(log_signer, size=8, root=bytes.fromhex(vectors["roots_by_size"][8]))
    forged = f"— {witness.name} {b64encode(witness.key_id + bytes(72)).decode()}\n".encode()
    assert open_checkpoint(note + forged, log_signer.verifier).size == 8
    with pytest.raises(NoteError, match="wrong"):
        open_checkpoint(note + forged, log_signer.verifier, witnesses=[witness])


def test_a_checkpoint_of_another_log_by_the_same_key_is_refused(log_signer: LogSigner) -> None:
    note = log_signer.sign_note(Checkpoint(origin="other.example/log", size=0, root=EMPTY_ROOT).to_text())
    with pytest.raises(NoteError, match="another log"):
        open_checkpoint(note, log_signer.verifier)


def test_a_checkpoint_that_only_a_witness_signed_is_refused(log_signer: LogSigner) -> None:
    impostor = LogSigner(log_signer.name, bytes(32))
    note = sign_checkpoint(impostor, size=0, root=EMPTY_ROOT)
    with pytest.raises(NoteError, match="did not sign"):
        open_checkpoint(note, log_signer.verifier, witnesses=[impostor.verifier])


def test_many_signatures_and_empty_lines_in_the_text_are_accepted(log_signer: LogSigner) -> None:
    note = log_signer.sign_note("first\n\nlast\n")
    line = note.split(b"\n\n")[-1]
    strangers = b"".join(LogSigner(f"s{number}", bytes(32)).sign_note("x\n").split(b"\n\n")[1] for number in range(20))
    assert open_note(note + strangers, [log_signer.verifier]).text == "first\n\nlast\n"
    assert open_note(note + line, [log_signer.verifier]).signed_by == (log_signer.verifier,)


@pytest.mark.parametrize(
    "text",
    [
        "o\n01\n" + b64encode(bytes(32)).decode() + "\n",
        "o\n-1\n" + b64encode(bytes(32)).decode() + "\n",
        "o\n1_0\n" + b64encode(bytes(32)).decode() + "\n",
        "o\n٣\n" + b64encode(bytes(32)).decode() + "\n",
        "o\n9223372036854775808\n" + b64encode(bytes(32)).decode() + "\n",
        "\n1\n" + b64encode(bytes(32)).decode() + "\n",
        "o\n1\n" + b64encode(bytes(31)).decode() + "\n",
        "o\n1\n" + "A" * 42 + "B=\n",  # stray bits: another spelling of zeros
        "o\n1\n" + b64encode(bytes(32)).decode(),
        "o\n1\n",
    ],
)
def test_a_malformed_checkpoint_text_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("+2b49a9b0+", "+2b49a9b1+"),  # another key id
        ("+2b49a9b0+", "+2B49A9B0+"),
        ("+2b49a9b0+", "+"),
        ("hub.example", "hub.sample"),  # the id is of the name too
        ("hub.example", "hub example"),
        ("+AfKj", "+BfKj"),  # another signature type
        ("+AfKj", "+AvKj"),
        ("hH9Q", ""),
        ("AfKj27f1w0KkxJNCNnKShk6m1ZBRjBqkZmn6c7kyhH9Q", ""),
        ("AfKj27f1w0KkxJNCNnKShk6m1ZBRjBqkZmn6c7kyhH9Q", "!"),
        ("hub.example/pcalog/vectors+2b49a9b0+", ""),
    ],
)
def test_a_malformed_verifier_key_is_refused(vectors: dict[str, Any], right: str, wrong: str) -> None:
    vkey = vectors["log_key"]["vkey"]
    assert right in vkey
    parse_vkey(vkey)
    with pytest.raises(NoteError):
        parse_vkey(vkey.replace(right, wrong))


@pytest.mark.parametrize("text", ["no end of line", "a\tb\n", "\x00\n", ""])
def test_text_that_no_note_may_hold_is_not_signed(text: str, log_signer: LogSigner) -> None:
    with pytest.raises(NoteError):
        log_signer.sign_note(text)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_and_never_crash(log_signer: LogSigner, data: bytes) -> None:
    with pytest.raises(NoteError):
        open_note(data, [log_signer.verifier])


def test_the_published_leaf_proof_is_made_and_accepted(
    vectors: dict[str, Any], log_signer: LogSigner, witness: VerifierKey
) -> None:
    published = vectors["tlog_proof_index5"].encode()
    parsed = parse_proof(published)
    assert format_proof(index=5, hashes=parsed.hashes, checkpoint=parsed.checkpoint) == published
    entry = bytes.fromhex(vectors["leaves_hex"][5])
    assert verify_leaf(entry, published, log_signer.verifier, witnesses=[witness], quorum=1).size == 8
    with pytest.raises(ProofError):
        verify_leaf(entry + b"x", published, log_signer.verifier)
    with_extra = published.replace(b"@v1\n", b"@v1\nextra AAAA\n", 1)
    assert verify_leaf(entry, with_extra, log_signer.verifier).size == 8


@pytest.mark.parametrize("index", ["05", "-5", "", "5 ", "٥", "6", "99999999999999999999999999"])
def test_a_leaf_proof_with_another_index_is_refused(vectors: dict[str, Any], log_signer: LogSigner, index: str) -> None:
    forged = vectors["tlog_proof_index5"].replace("index 5\n", f"index {index}\n").encode()
    with pytest.raises(ProofError):
        verify_leaf(bytes.fromhex(vectors["leaves_hex"][5]), forged, log_signer.verifier)
