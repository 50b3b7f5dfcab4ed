"""The sequencer's process is killed at its two crash points; the next process finishes what was begun."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from hub.log.export import export_log
from hub.log.head_file import HeadFile
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer
from hub.log.verify import verify_log

PROGRAM = """
import sys
from datetime import datetime
from pathlib import Path
from hub.db import make_engine
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer
url, origin, seed, head_file, now = sys.argv[1:]
signer = LogSigner(origin, bytes.fromhex(seed))
Sequencer(make_engine(url), signer, Path(head_file)).run_once(datetime.fromisoformat(now))
"""
SEED = bytes(range(32))


@pytest.mark.parametrize(("point", "signed"), [("log.after_assign", 0), ("log.before_commit", 300)])
def test_a_killed_sequencer_leaves_a_log_that_goes_on(
    point: str,
    signed: int,
    engine: Engine,
    database_url: str,
    append: Callable[..., None],
    head_file: Path,
    tmp_path: Path,
    now: datetime,
) -> None:
    signer = LogSigner("hub.example/log", SEED)
    sequencer = Sequencer(engine, signer, head_file)
    before = sequencer.run_once(now).checkpoint
    append(300)
    command = [sys.executable, "-c", PROGRAM, database_url, signer.name, SEED.hex(), str(head_file), now.isoformat()]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TANLIAN_FAILPOINT": f"{point}:1", "PYTHONPATH": str(root)}
    killed = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    export_log(engine, tmp_path / "export")
    assert verify_log(tmp_path / "export", signer.vkey).size == 0  # nothing of it was published
    remembered = HeadFile(head_file).load()
    assert remembered is not None
    assert remembered.size == signed
    append(5)
    assert sequencer.run_until_current(now).size == 305
    export_log(engine, tmp_path / "export")
    report = verify_log(tmp_path / "export", signer.vkey, seen=before)
    assert (report.fault, report.size) == (None, 305)
