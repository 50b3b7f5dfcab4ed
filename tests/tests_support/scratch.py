"""Where the tests write: into memory, where the machine has enough of it. I/O: files.

The hub waits for the disk at every commit, as it must (`hub/db.py`), and here there are thousands of small databases. In
memory the same calls are made and cost nothing. Whoever wants to look at the files afterwards sets TMPDIR: then nothing
is done here, and pytest keeps the folders of the last runs there.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
# A whole run has less than one; containers have often no more than 64 MiB.
NEEDED_BYTES = 4 << 30
_PREFIX = "tanlian-tests-"


def write_into_memory(memory: Path = MEMORY) -> Path | None:
    """Let temporary files of this process and of all that it starts go into memory; return the folder, or None."""
    if "TMPDIR" in os.environ or not memory.is_dir():
        return None  # chosen by somebody; for a worker of the test runner, by the process that started it
    _sweep(memory)
    if shutil.disk_usage(memory).free < NEEDED_BYTES or not os.access(memory, os.W_OK | os.X_OK):
        return None
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory))
    folder.chmod(0o711)  # the database's server is another user
    _hold(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def _hold(folder: Path) -> int:
    """Lock a folder for as long as the process lives; a BlockingIOError if another one has it."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _sweep(memory: Path) -> None:
    """Remove what runs have left that were killed."""
    for left in memory.glob(f"{_PREFIX}*/lock"):
        try:
            lock = _hold(left.parent)
        except OSError:
            continue
        shutil.rmtree(left.parent, ignore_errors=True)
        os.close(lock)
