"""Proof bundles: what they show, and that nothing in one can be changed."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from tests_support.window_files import counted, duplicate

from hub.log.bundles import (
    MAX_BUNDLE_BYTES,
    BundleKind,
    BundleRefused,
    Path,
    log_part,
    make_bundle,
    to_text,
    verify_bundle,
)
from hub.log.checkpoint import sign_checkpoint
from hub.log.leaves import Kind, build_leaf
from hub.log.merkle import commitment_root, leaf_hash, tree_root
from hub.log.note import LogSigner, parse_vkey
from hub.log.policy import parse_policy
from hub.log.proofs import prove_commitment, prove_inclusion, read_memory
from hub.log.tlogproof import format_proof, verify_leaf
from hub.log.witness_protocol import Cosigner, add_lines
from standards.canonical import canonical_bytes

AT = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
DIGESTS = [sha256(b"record %d" % number).digest() for number in range(5)]
LINES = [counted(1, 100), duplicate(2, 1), counted(4, 250)]
WITNESS = Cosigner("witness.example/w1", sha256(b"seed of the tests' witness").digest())
POLICY = parse_policy(f"witness w {WITNESS.verifier.to_vkey()}\nquorum w\n".encode())


def manifest_of(lines: list[str]) -> str:
    root = commitment_root([sha256(line.encode()).digest() for line in lines])
    previous = sha256(b"the window before").digest()
    told = {"window": 7, "records": len(lines), "previous_root": previous.hex()}
    return canonical_bytes(told | {"root": sha256(previous + root).hexdigest()}).decode()


MANIFEST = manifest_of(LINES)


def leaves() -> list[bytes]:
    batch = {"participant": "city", "window": 7, "accepted_count": 5, "records_root": commitment_root(DIGESTS)}
    final = {"window": 7, "root": json.loads(MANIFEST)["root"], "manifest": sha256(MANIFEST.encode()).digest()}
    kinds = [(Kind.BATCH_RECEIVED, batch), (Kind.WINDOW_FINAL, final), (Kind.WINDOW_SEALED, {"window": 7})]
    return [build_leaf(kind, AT, fields).body for kind, fields in kinds] + [b"{}", b"not JSON"]


def proof_of(signer: LogSigner, index: int, *, cosigned: bool = False) -> bytes:
    hashes = [leaf_hash(entry) for entry in leaves()]
    note = sign_checkpoint(signer, size=len(hashes), root=tree_root(hashes))
    if cosigned:
        note = add_lines(note, [WITNESS.cosign(note.decode().partition("\n\n")[0] + "\n", 1_795_000_000).line])
    path = prove_inclusion(index=index, size=len(hashes), read_node=read_memory(hashes))
    return format_proof(index=index, hashes=path, checkpoint=note)


def path_of(digests: list[bytes], index: int) -> dict[str, Any]:
    return Path(index=index, size=len(digests), hashes=tuple(prove_commitment(digests, index))).to_json()


def bundle_of(signer: LogSigner, kind: BundleKind, *, cosigned: bool = False) -> dict[str, Any]:
    index = {BundleKind.RECORD: 0, BundleKind.DECISION: 1, BundleKind.WINDOW: 1, BundleKind.LEAF: 2}[kind]
    decided = [sha256(line.encode()).digest() for line in LINES]
    members: dict[BundleKind, dict[str, Any]] = {
        BundleKind.RECORD: {"commitment": DIGESTS[3].hex(), "path": path_of(DIGESTS, 3)},
        BundleKind.DECISION: {"line": LINES[2], "path": path_of(decided, 2), "manifest": MANIFEST},
        BundleKind.WINDOW: {"manifest": MANIFEST},
        BundleKind.LEAF: {},
    }
    return make_bundle(kind, leaves()[index], proof_of(signer, index, cosigned=cosigned), **members[kind])


def check(signer: LogSigner, bundle: dict[str, Any]) -> Any:
    return verify_bundle(to_text(bundle).encode(), [signer.verifier])


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (BundleKind.RECORD, "record 4 of the 5 of a batch of city in window 7"),
        (BundleKind.DECISION, "window 7 decided about record 4: counted (event 4, T2, 250 mg)"),
        (BundleKind.WINDOW, f"window 7 is final with root {json.loads(MANIFEST)['root']}"),
        (BundleKind.LEAF, "leaf 2 is in the log"),
    ],
)
def test_a_bundle_shows_what_it_is_about(signer: LogSigner, kind: BundleKind, what: str) -> None:
    shown = check(signer, bundle_of(signer, kind))
    assert (shown.kind, shown.what, shown.size, shown.origin) == (kind, what, 5, signer.name)
    assert shown.to_json()["verified"] is True
    entry, log = log_part(to_text(bundle_of(signer, kind)).encode())
    assert verify_leaf(entry, log, signer.verifier).size == 5


def flips(value: Any) -> list[Any]:
    """The values that differ from this one in one place."""
    if isinstance(value, dict):
        inner = [value | {name: other} for name in value for other in flips(value[name])]
        return [*inner, *({n: v for n, v in value.items() if n != name} for name in value), value | {"more": 1}]
    if isinstance(value, list):
        inner = [[*value[:at], other, *value[at + 1 :]] for at in range(len(value)) for other in flips(value[at])]
        return [*inner, value[1:], value[:-1], [*value, "0" * 64]] if value else [["0" * 64]]
    if isinstance(value, int):
        return [value + 1, value - 1, -1, str(value), 2**64, float(value), True, None]
    places = range(len(value))
    changed = [value[:at] + ("1" if value[at] == "0" else "0") + value[at + 1 :] for at in places]
    shorter = [value[:at] + value[at + 1 :] for at in places]
    return [*changed, *shorter, value + "0", value + "\n", " " + value, "", None, 7, [value], {"v": value}]


@pytest.mark.parametrize("kind", BundleKind)
def test_whatever_is_changed_in_a_bundle_is_refused(signer: LogSigner, kind: BundleKind) -> None:
    right = bundle_of(signer, kind)
    check(signer, right)
    tried = 0
    for wrong in flips(right):
        tried += 1
        with pytest.raises(BundleRefused):
            check(signer, wrong)
    assert tried > 900


def test_each_refusal_says_what_failed(signer: LogSigner) -> None:
    record = bundle_of(signer, BundleKind.RECORD)
    decision = bundle_of(signer, BundleKind.DECISION)
    other = LogSigner(signer.name, bytes(32))
    elsewhere = LogSigner("elsewhere.example/log", bytes(32))
    window = bundle_of(signer, BundleKind.WINDOW)
    sealed = bundle_of(signer, BundleKind.LEAF)
    cases: list[tuple[dict[str, Any], str]] = [
        (record | {"v": "tanlian-proof/2"}, "not of the form tanlian-proof/1"),
        (record | {"kind": "person"}, "kind is not record, decision, window or leaf"),
        (record | {"commitment": "AB"}, "the member commitment is no digest of 32 bytes in hex"),
        (record | {"commitment": DIGESTS[0].hex()}, "the record's path does not lead to the leaf's records_root"),
        (record | {"path": record["path"] | {"size": 6}}, "the path is of 6 records, the leaf names 5"),
        (record | {"path": record["path"] | {"hashes": []}}, "the member path: the proof is too short"),
        (record | {"path": record["path"] | {"index": 5}}, "the path's index is not below its size"),
        (record | {"path": record["path"] | {"hashes": ["00" * 32] * 64}}, "a path has at most 63 hashes"),
        (record | {"entry": sealed["entry"]}, "the entry is not shown to be leaf 0 of the log"),
        (
            record | {"log": sealed["log"], "entry": sealed["entry"]},
            "the leaf tells of 'window.sealed', not of a batch",
        ),
        (record | {"log": record["log"].replace("\nindex", "\nextra AA==\nindex")}, "lines that nothing vouches for"),
        (record | {"log": record["log"].replace("index 0", "index 00")}, "the proof's index is malformed"),
        (record | {"log": record["log"].replace("\u2014", "-")}, "a signature line is malformed"),
        (decision | {"line": LINES[0]}, "the decision's path does not lead to the window's root"),
        (decision | {"line": "7|8"}, "the member line is not record|event|verdict|rule|counted|canonical"),
        (decision | {"path": path_of(DIGESTS, 2)}, "the path is of 5 decisions, the manifest names 3"),
        (window | {"manifest": manifest_of(LINES[:2])}, "not the one whose digest the leaf names"),
        (window | {"log": record["log"], "entry": record["entry"]}, "not of a window that became final"),
    ]
    for bundle, told in cases:
        with pytest.raises(BundleRefused, match="(?s).*" + told.replace("|", r"\|").replace("(", r"\(")):
            check(signer, bundle)
    for key, told in ((other, "no signature by a known key"), (elsewhere, "the checkpoint is another log's")):
        with pytest.raises(BundleRefused, match=told):
            verify_bundle(to_text(record).encode(), [key.verifier])
    with pytest.raises(BundleRefused, match="the leaf is no JSON object"):
        check(signer, make_bundle(BundleKind.LEAF, leaves()[4], proof_of(signer, 4)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not_json"), (b"\xff\xfe", "not_utf8"), (b"[]", "not_an_object"), (b"{} {}", "not_json"),
        (b'{"v": NaN}', "not_a_number"), (b'{"v": 1e999}', "number_too_large"), (b'{"v": 1, "v": 2}', "duplicate_key"),
        (b"[" * 100_000, "too_deep"), (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
        (b'{"v": ' + b"9" * 5_000 + b"}", "not_json"), (b'"' + b"a" * MAX_BUNDLE_BYTES + b'"', "longer than"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_hostile_file_is_a_clear_refusal(signer: LogSigner, content: bytes, told: str) -> None:
    with pytest.raises(BundleRefused, match=told):
        verify_bundle(content, [signer.verifier])


def test_the_quorum_of_witnesses_is_asked_for_where_a_policy_wants_it(signer: LogSigner) -> None:
    plain, cosigned = (bundle_of(signer, BundleKind.RECORD, cosigned=one) for one in (False, True))
    shown = verify_bundle(to_text(cosigned).encode(), [signer.verifier], POLICY)
    assert shown.witnesses == ("witness.example/w1",)
    assert check(signer, cosigned).witnesses == ()
    with pytest.raises(BundleRefused, match="0 known witnesses cosigned, which is not the quorum"):
        verify_bundle(to_text(plain).encode(), [signer.verifier], POLICY)
    line = cosigned["log"].rstrip("\n").rpartition("\n")[2]
    blob = bytearray(b64decode(line.split(" ")[2]))
    for at in range(4, len(blob)):
        wrong = bytes(byte ^ (place == at) for place, byte in enumerate(blob))
        forged = cosigned["log"].replace(line.split(" ")[2], b64encode(wrong).decode())
        with pytest.raises(BundleRefused, match="a known key's signature is wrong"):
            verify_bundle(to_text(cosigned | {"log": forged}).encode(), [signer.verifier], POLICY)


def test_the_log_s_key_may_come_from_the_policy_and_one_of_several_is_enough(signer: LogSigner) -> None:
    bundle = to_text(bundle_of(signer, BundleKind.LEAF)).encode()
    newer: Callable[[], LogSigner] = lambda: LogSigner(signer.name, b"n" * 32)  # noqa: E731
    assert verify_bundle(bundle, [newer().verifier, signer.verifier]).index == 2
    assert verify_bundle(bundle, [parse_vkey(signer.vkey)]).size == 5
    with pytest.raises(BundleRefused, match="the checkpoint is another log's"):
        verify_bundle(bundle, [])
