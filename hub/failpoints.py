"""Named places where a test may kill this process. Inert unless `TANLIAN_FAILPOINT=name:nth` is set.

Of several, with commas between, the first is armed: whoever starts the process again takes it off (`later_points`).

A kill is SIGKILL: no handler runs, nothing is flushed, exactly like a power switch for this process. The registry lets
a test assert that every point is really reached.
"""

import os
import signal
from collections import Counter

POINTS = frozenset(
    {
        "collect.before_commit",
        "collect.after_commit",
        "clear.before_commit",
        "clear.after_commit",
        "replay.before_commit",
        "restate.before_commit",
        "restate.after_commit",
        "seal.after_commit",
        "erase.before_destroying",
        "erase.before_commit",
        "hold.before_commit",
        "keys.after_leaf",
        "keys.after_file",
        "keys.after_rows",
        "log.after_assign",
        "log.before_commit",
    }
)

_hits: Counter[str] = Counter()


def later_points(points: str) -> str:
    """Return what is armed once the first point has killed."""
    return points.partition(",")[2]


def failpoint(name: str) -> None:
    """Die here if this point, at this hit, is armed."""
    if name not in POINTS:
        raise AssertionError(f"failpoint {name} is not registered")
    armed = os.environ.get("TANLIAN_FAILPOINT", "").partition(",")[0]
    if not armed.startswith(f"{name}:"):
        return
    _hits[name] += 1
    if _hits[name] == int(armed.rpartition(":")[2]):
        os.kill(os.getpid(), signal.SIGKILL)
