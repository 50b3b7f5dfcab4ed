"""What the sequencer must never sign: every way to be made to fork."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests_support.sequenced import body, root_of

from hub.db import reading, writing
from hub.errors import IntegrityBroken
from hub.log.checkpoint import open_checkpoint
from hub.log.head_file import HeadFile
from hub.log.leaves import Kind, Leaf
from hub.log.note import LogSigner
from hub.log.sequencer import ForkRefused, Sequencer
from hub.log.store import (
    append_leaves,
    load_checkpoint,
)

TABLES = ("log_leaf", "log_body", "log_tile", "log_head")


def snapshot(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    with reading(engine) as session:
        return {
            table: [dict(row) for row in session.execute(text(f"SELECT * FROM {table}")).mappings()] for table in TABLES
        }


def restore(engine: Engine, saved: dict[str, list[dict[str, Any]]]) -> None:
    with writing(engine) as session:
        for table in ("log_body", "log_leaf", "log_tile", "log_head"):
            session.execute(text(f"DELETE FROM {table}"))
        for table in TABLES:
            for row in saved[table]:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                session.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)


def test_a_restored_backup_is_refused(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(10)
    sequencer.run_once(now)
    saved = snapshot(engine)
    append(5)
    sequencer.run_once(now)
    restore(engine, saved)
    with pytest.raises(ForkRefused, match="restored backup"):
        sequencer.run_once(now)
    append(7)  # other leaves reach the size that was signed
    with pytest.raises(ForkRefused, match="size 15"):
        sequencer.run_until_current(now)
    with reading(engine) as session:
        assert load_checkpoint(session) == saved["log_head"][0]["checkpoint"]


def test_another_history_of_the_same_size_is_refused(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(10)
    sequencer.run_once(now)
    saved = snapshot(engine)
    append(5)
    sequencer.run_once(now)
    restore(engine, saved)
    with writing(engine) as session:
        append_leaves(session, [Leaf(kind=Kind.KEY_ROTATED, at=now, body=b"forged %d" % n) for n in range(5)])
    with pytest.raises(ForkRefused, match="another root was signed at size 15"):
        sequencer.run_once(now)
    with pytest.raises(ForkRefused, match="another root was signed at size 15"):
        sequencer.run_once(now)


def test_the_same_leaves_after_a_restored_backup_come_to_the_same_checkpoint(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime, check_log: Callable[..., int]
) -> None:
    append(10)
    sequencer.run_once(now)
    saved = snapshot(engine)
    append(5)
    signed = sequencer.run_once(now)
    restore(engine, saved)
    with writing(engine) as session:  # replayed from elsewhere, to the byte
        append_leaves(session, [Leaf(kind=Kind.BATCH_RECEIVED, at=now, body=body(10 + n)) for n in range(5)])
    assert sequencer.run_once(now).checkpoint == signed.checkpoint
    assert check_log(seen=signed.checkpoint) == 15


def test_a_rewritten_past_is_refused_by_a_host_that_remembers_less(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, tmp_path: Path, now: datetime
) -> None:
    append(300)
    sequencer.run_once(now)
    elsewhere = HeadFile(tmp_path / "other-host")
    elsewhere.store(sequencer.run_once(now).checkpoint)
    append(300)
    sequencer.run_once(now)
    append(1)
    assert Sequencer(engine, signer, elsewhere).run_once(now).size == 601
    behind = HeadFile(tmp_path / "third-host")
    behind.store(signer.sign_note(f"{signer.name}\n300\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
    append(1)
    with pytest.raises(ForkRefused, match="size 300"):
        Sequencer(engine, signer, behind).run_once(now)


def test_a_lost_head_file_stops_the_signer_until_the_head_is_adopted(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, head_file: Path, now: datetime
) -> None:
    append(3)
    signed = sequencer.run_once(now)
    with pytest.raises(ForkRefused, match="nothing to adopt"):
        sequencer.adopt_head()
    head_file.unlink()
    append(1)
    with pytest.raises(ForkRefused, match="missing"):
        sequencer.run_once(now)
    assert sequencer.adopt_head().root == signed.root
    assert sequencer.run_once(now).size == 4


def test_a_head_of_another_key_or_tree_is_not_adopted(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, head_file: Path, now: datetime
) -> None:
    append(3)
    with pytest.raises(ForkRefused, match="ever signed"):
        sequencer.adopt_head()
    sequencer.run_once(now)
    head_file.unlink()
    with pytest.raises(ForkRefused, match="not this signer's"):
        Sequencer(engine, LogSigner(signer.name, bytes(32)), head_file).adopt_head()
    forged = signer.sign_note(f"{signer.name}\n2\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
    with writing(engine) as session:
        session.execute(text("UPDATE log_head SET checkpoint = :forged"), {"forged": forged})
    with pytest.raises(ForkRefused, match="stored tree"):
        sequencer.adopt_head()
    assert not head_file.exists()


def test_a_damaged_head_file_stops_the_signer(
    append: Callable[..., None], sequencer: Sequencer, head_file: Path, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    head_file.write_bytes(b"not a head file")
    with pytest.raises(IntegrityBroken, match="damaged"):
        sequencer.run_once(now)


def test_another_logs_head_file_is_refused(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, head_file: Path, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    with pytest.raises(ForkRefused, match="another log"):
        Sequencer(engine, LogSigner("other.example/log", bytes(32)), head_file).run_once(now)


def test_a_rotated_key_signs_the_same_tree_again_and_goes_on(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, head_file: Path, now: datetime
) -> None:
    append(3)
    before = sequencer.run_once(now)
    rotated = LogSigner(signer.name, bytes(32))
    again = Sequencer(engine, rotated, head_file).run_once(now)
    assert (again.size, again.root) == (before.size, before.root)
    assert open_checkpoint(again.checkpoint, rotated.verifier).size == 3
    append(2)
    assert Sequencer(engine, rotated, head_file).run_once(now).root == root_of(5)
