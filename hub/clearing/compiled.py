"""The one place that says how loops over rows are compiled. I/O: keeps compiled code in a cache folder.

Numba releases the interpreter lock, so that buckets run on all cores in threads, and keeps what it compiled on disk.
Only whole-number arithmetic is compiled: the same result on every machine and in every engine.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
HERE = Path(__file__).parent


def cache_folder(sources: Path = HERE) -> Path:
    """Return where this version's compiled code is kept: another folder for every change of any compiled source.

    By itself, numba looks only at the file that a function is in, and would go on using machine code with the constants
    and callees of yesterday's other files.
    """
    digest = hashlib.sha256()
    for path in sorted(sources.glob("*.py")):
        content = path.read_bytes()
        if b"hub.clearing.compiled" in content or path.name in ("compiled.py", "rows.py", "vocabulary.py"):
            digest.update(path.name.encode() + b"\0" + content)
    return sources / "__pycache__" / f"kernel-{digest.hexdigest()[:16]}"


def _use_cache_folder() -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # Installed where nobody may write: the same folder name below the user's own cache.
        folder = Path.home() / ".cache" / "tanlian" / folder.name
    # By this call, because the member exists only when numba runs.
    vars(numba.config)["CACHE_DIR"] = str(folder)


_use_cache_folder()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only compiled functions call; its Python source stays its meaning."""
    # Without the wrappers for calls from Python, which take much of the time of compiling.
    options: dict[str, Any] = {"cache": True, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Callable[P, R], numba.njit(**options)(function))


def compiled_entry(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that Python calls."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


def number(value: int) -> int:
    """Return a constant as a machine number.

    A plain constant handed to a compiled function would be compiled into a version of its own for every value.
    """
    return cast(int, np.int64(value))


ZERO = number(0)
NONE = number(-1)
