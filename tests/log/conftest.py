"""What the log's tests share: a signer, a sequencer on a fresh database, leaves to append, the published vectors."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from hub.db import writing
from hub.log.export import export_log
from hub.log.leaves import Kind, Leaf
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer
from hub.log.store import append_leaves
from hub.log.verify import verify_log

# The independent verifier is written in Go and lives outside: its test exists where both are there.
collect_ignore = [] if shutil.which("go") and os.environ.get("TANLIAN_TLOG_KIT") else ["test_log_go_verifier.py"]

NOW = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
ORIGIN = "hub.example/log"


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    """Computed by an independent implementation (Go's own packages), not by ours."""
    return dict(json.loads((Path(__file__).parent / "tlog_vectors.json").read_text()))


@pytest.fixture(scope="session")
def signer() -> LogSigner:
    return LogSigner(ORIGIN, sha256(b"seed of the tests' log").digest())


@pytest.fixture
def head_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "log.head"


@pytest.fixture
def sequencer(engine: Engine, signer: LogSigner, head_file: Path) -> Sequencer:
    return Sequencer(engine, signer, head_file)


@pytest.fixture
def append(engine: Engine) -> Callable[..., None]:
    """Append `count` small leaves in one transaction; their bodies tell their number."""
    appended = 0

    def run(count: int, *, each_alone: bool = False) -> None:
        nonlocal appended
        leaves = [
            Leaf(kind=Kind.BATCH_RECEIVED, at=NOW, body=b'{"n":%d}' % number)
            for number in range(appended, appended + count)
        ]
        with writing(engine) as session:
            if each_alone:
                for leaf in leaves:
                    append_leaves(session, [leaf])
            else:
                append_leaves(session, leaves)
        appended += count

    return run


@pytest.fixture
def check_log(engine: Engine, signer: LogSigner, tmp_path: Path) -> Callable[..., int]:
    """Re-verify everything that is published, from outside; returns the size."""

    def run(*, seen: bytes | None = None) -> int:
        export_log(engine, tmp_path / "export")
        report = verify_log(tmp_path / "export", signer.vkey, seen=seen)
        assert report.fault is None
        return report.size

    return run
