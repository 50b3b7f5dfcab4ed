"""From a record to a signed checkpoint: bundles at the regulators' door and by command, checked without the hub."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.regulating import NOW, accesses, problem, sign
from tests_support.terminal import Terminal
from tests_support.tokens import Machine
from tests_support.web import Caller, look_up
from tests_support.witnesses import witnessed

from hub.clearing.final import window_root
from hub.commands.log_bundle import prover_of
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Busy, Conflict, IntegrityBroken, NotFound
from hub.log.bundles import BundleKind, Shown, to_text, verify_bundle
from hub.log.checkpoint import parse_unverified
from hub.log_signing import log_signer
from hub.pipeline import take_delivery
from hub.proving.bundling import Gone
from hub.proving.decisions import CHUNK, DecisionTree, build_tree, place_decision
from hub.rights.erase import erase_person

DOOR = "/v1/regulator/proofs"
ERASED = "SELECT MIN(s.record_id) FROM source_record s JOIN person p ON p.subject_id = s.subject_id WHERE p.erased_at IS NOT NULL"


def shown(hub: Hub, bundle: dict[str, Any]) -> Shown:
    return verify_bundle(to_text(bundle).encode(), log_signer(hub).verifiers)


def standing_records(hub: Hub) -> list[int]:
    """Records of batches that no erased person has a record in."""
    erased = "SELECT s.batch_id FROM source_record s JOIN person p ON p.subject_id = s.subject_id WHERE p.erased_at IS NOT NULL"
    return [
        row[0]
        for row in look_up(hub, f"SELECT record_id FROM source_record WHERE batch_id NOT IN ({erased}) ORDER BY 1")
    ]


def test_every_record_is_proved_as_its_batch_committed_to_it(lived: Hub) -> None:
    prover, records = prover_of(lived), standing_records(lived)
    assert len(records) > 10
    with reading(lived.engine) as session:
        for record in records:
            bundle = prover.prove_record(session, record)
            told = shown(lived, bundle)
            ((batch, digest),) = look_up(
                lived, "SELECT batch_id, digest FROM source_record WHERE record_id = :r", r=record
            )
            assert (told.kind, bundle["commitment"]) == (BundleKind.RECORD, bytes(digest).hex())
            ((size,),) = look_up(lived, "SELECT accepted FROM batch WHERE batch_id = :b", b=batch)
            assert bundle["path"]["size"] == size


def test_every_decision_of_every_final_window_is_proved(lived: Hub) -> None:
    prover = prover_of(lived)
    finals = look_up(lived, "SELECT window_id, root FROM clearing_window WHERE state = 'final' ORDER BY window_id")
    assert len(finals) == 2
    with reading(lived.engine) as session:
        for window, root in finals:
            assert window_root(session, window) == bytes(root)
            decided = look_up(
                lived,
                "SELECT record_id, verdict, counted_mg FROM decision WHERE window_id = :w AND NOT provisional",
                w=window,
            )
            for record, verdict, mg in decided:
                told = shown(lived, prover.prove_decision(session, window, record))
                assert told.what.startswith(f"window {window} decided about record {record}: {verdict} (")
                assert told.what.endswith(f"{mg} mg)")
            window_told = shown(lived, prover.prove_window(session, window))
            assert window_told.manifest is not None
            assert (window_told.manifest["root"], window_told.manifest["window"]) == (bytes(root).hex(), window)


def test_what_cannot_be_proved_is_told_by_its_kind(lived: Hub) -> None:
    prover = prover_of(lived)
    ((gone,),) = look_up(lived, ERASED)
    ((waiting,),) = look_up(lived, "SELECT MAX(record_id) FROM source_record")
    with reading(lived.engine) as session:
        with pytest.raises(Gone, match=f"the person of record {gone} was erased"):
            prover.prove_record(session, gone)
        with pytest.raises(NotFound, match="no record 999999"):
            prover.prove_record(session, 999_999)
        with pytest.raises(NotFound, match="no window 99"):
            prover.prove_window(session, 99)
        with pytest.raises(Conflict, match="window 3 is sealed; only a final window is proved"):
            prover.prove_decision(session, 3, 1)
        for record in (0, waiting, 10**15):
            with pytest.raises(NotFound, match="decided nothing"):
                prover.prove_decision(session, 1, record)
        with pytest.raises(NotFound, match="no checkpoint covers leaf"):
            prover.prove_leaf(session, 10**9)
        assert shown(lived, prover.prove_leaf(session, 0)).index == 0


def test_the_door_gives_bundles_to_regulators_and_writes_down_that_it_did(
    lived: Hub, gu: Machine, tmp_path: Path
) -> None:
    ((record,),) = look_up(lived, "SELECT MIN(record_id) FROM decision WHERE window_id = 1 AND verdict = 'counted'")
    record = next(one for one in standing_records(lived) if one >= record)
    before = len(accesses(lived))
    doors = {
        f"{DOOR}/records/{record}": BundleKind.RECORD,
        f"{DOOR}/windows/1": BundleKind.WINDOW,
        f"{DOOR}/windows/1/decisions/{record}": BundleKind.DECISION,
        f"{DOOR}/leaves/3": BundleKind.LEAF,
    }
    for door, kind in doors.items():
        answer = gu.get(door)
        assert answer.status_code == 200, answer.text
        assert verify_bundle(answer.content, log_signer(lived).verifiers).kind is kind
        names = [row[0] for row in look_up(lived, "SELECT username FROM person WHERE username IS NOT NULL")]
        accounts = ("bj-1", "kd-1", "bj-2")
        assert not [name for name in (*names, *accounts) if name and name in answer.text]
        assert problem(Caller(lived).get(door)) == (401, "unauthorized")
    told = accesses(lived)[before:]
    assert [leaf["what"] for leaf in told] == ["staff.proof_seen"] * 4
    ((gone,),) = look_up(lived, ERASED)
    for door, wanted in (
        (f"{DOOR}/records/{gone}", (410, "gone")), (f"{DOOR}/records/999999", (404, "not_found")),
        (f"{DOOR}/windows/3", (409, "conflict")), (f"{DOOR}/windows/99", (404, "not_found")),
        (f"{DOOR}/leaves/99999999", (404, "not_found")), (f"{DOOR}/records/0", (422, "invalid_request")),
        (f"{DOOR}/leaves/-1", (422, "invalid_request")), (f"{DOOR}/windows/1/decisions/{2**64}", (422, "invalid_request")),
    ):  # fmt: skip
        assert problem(gu.get(door)) == wanted, door


def test_an_erasure_takes_the_proofs_of_a_batch_with_it_and_nothing_else(hub: Hub) -> None:
    city = join(hub, BEIJING)
    li, wang = (link_person(hub, name, {city.platform_id: account}, set(BEIJING["behaviours"]), NOW) for name, account in
                (("li", "bj-1"), ("wang", "bj-2")))  # fmt: skip
    take_delivery(hub, city, delivery("d1", act("1", "bj-1"), act("2", "bj-2")), now=NOW)
    take_delivery(hub, city, delivery("d2", act("3", "bj-2")), now=NOW)
    prover = prover_of(hub)
    with reading(hub.engine) as session, pytest.raises(Busy, match="no checkpoint covers its leaf yet"):
        prover.prove_record(session, 1)
    sign(hub)
    with reading(hub.engine) as session:
        before = {record: prover.prove_record(session, record) for record in (1, 2, 3)}
    erase_person(hub, li.subject_id, now=NOW)
    sign(hub)
    with reading(hub.engine) as session:
        with pytest.raises(Gone, match="the person of record 1 was erased"):
            prover.prove_record(session, 1)
        with pytest.raises(Gone, match="another record of the batch of record 2 was erased"):
            prover.prove_record(session, 2)
        assert shown(hub, prover.prove_record(session, 3)).what == before_what(hub, before[3])
    assert wang.subject_id != li.subject_id
    for bundle in before.values():  # who was given one keeps what it shows
        assert shown(hub, bundle).kind is BundleKind.RECORD
    with writing(hub.engine) as session:
        session.execute(text("UPDATE source_record SET digest = :d WHERE record_id = 3"), {"d": bytes(32)})
    with reading(hub.engine) as session, pytest.raises(IntegrityBroken, match="not those that it committed to"):
        prover.prove_record(session, 3)


def before_what(hub: Hub, bundle: dict[str, Any]) -> str:
    return shown(hub, bundle).what


def test_bundles_carry_the_newest_witnessed_checkpoint_that_covers_them(lived: Hub, tmp_path: Path) -> None:
    with witnessed(lived, tmp_path) as (policy, ask):
        assert ask() is True
        size = look_up(lived, "SELECT size FROM log_head")[0][0]
        with writing(lived.engine) as session:
            session.execute(text("UPDATE log_witness SET line = NULL"))
        prover = prover_of(lived)
        with reading(lived.engine) as session:
            bundle = to_text(prover.prove_window(session, 1)).encode()
            told = verify_bundle(bundle, log_signer(lived).verifiers, policy)
            assert (told.size, len(told.witnesses)) == (size, 1)
            newest = json.loads(to_text(prover.prove_leaf(session, size - 1)))
            assert parse_unverified(newest["log"].partition("\n\n")[2].encode()).size == size
    with writing(lived.engine) as session:
        session.execute(text("DELETE FROM log_witnessed"))
        session.execute(text("DELETE FROM log_witness"))


def test_bundles_are_made_and_checked_by_command(
    lived: Hub, tanlian: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, key = standing_records(lived)[0], log_signer(lived).vkey
    made = {
        "record": ("record", str(record)), "decision": ("decision", "1", str(record)), "leaf": ("leaf", "2"),
    }  # fmt: skip
    for name, words in made.items():
        assert "the bundle is in" in tanlian("log", "bundle", *words, "--out", f"{name}.json").out
        assert json.loads(tanlian("log", "bundle", *words).out)["kind"] == name
    assert "no record 999999" in tanlian("log", "bundle", "record", "999999").complaint
    assert tanlian("log", "verify", "--bundle", "record.json").code == 0  # with the hub's own key
    # Anywhere else: no database, no keys.
    monkeypatch.setenv("TANLIAN_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(tanlian.folder / "nowhere"))
    for name in made:
        ran = tanlian("log", "verify", "--bundle", f"{name}.json", "--key", key)
        assert (ran.code, ran.out.startswith("verified: ")) == (0, True), ran
        assert tanlian("log", "verify", "--bundle", f"{name}.json", "--key", key, "--json").json["verified"] is True
    assert not (tanlian.folder / "nowhere").exists()
    whole = (tanlian.folder / "record.json").read_text()
    tanlian.write("forged.json", whole.replace('"index": ', '"index": 1'))
    ran = tanlian("log", "verify", "--bundle", "forged.json", "--key", key)
    assert (ran.code, ran.out.startswith("NOT VERIFIED: the path's index")) == (1, True), ran.out
    assert tanlian("log", "verify", "--bundle", "forged.json", "--key", key, "--json").json["verified"] is False
    assert tanlian("log", "verify", "--bundle", "missing.json", "--key", key).complaint
    assert "--key" in tanlian("log", "verify", "--bundle", "record.json", "--key", "nokey").complaint
    tanlian.write("policy", f"log {key}\nquorum none\n")
    assert tanlian("log", "verify", "--bundle", "record.json", "--policy", "policy").code == 0
    tanlian.write("bad", "quorum x\n")
    assert "line 1" in tanlian("log", "verify", "--bundle", "record.json", "--policy", "bad").complaint
    assert tanlian("log", "verify", "--bundle", "record.json", "--dir", ".").code == 2


def test_a_decision_is_placed_in_windows_of_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of trees cut off at their chunks are those of the whole tree, wherever the decision stands."""
    for size in (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77, 5 * CHUNK):
        rows = [(3 * at + 5, f"{3 * at + 5}||rejected|P1|0|") for at in range(size)]

        def read(_session: object, _window: int, *, since: int = 0, told: Any = rows) -> Any:
            return (row for row in told if row[0] >= since)

        monkeypatch.setattr("hub.proving.decisions.read_decision_lines", read)
        nobody: Any = None
        tree: DecisionTree = build_tree(nobody, 1)
        assert (tree.size, len(tree.chunks)) == (size, size // CHUNK)
        for at in {0, 1 % size, size // 2, size - 1}:
            placed = place_decision(nobody, tree, 1, rows[at][0])
            assert placed is not None
            assert (placed.line, placed.path.index, placed.path.size) == (rows[at][1], at, size)
            assert placed.path.root_over(sha256(placed.line.encode()).digest()) == tree.root
            assert place_decision(nobody, tree, 1, rows[at][0] + 1) is None
