"""The one place that says how loops over rows are compiled. I/O: keeps compiled code in a cache folder.

Numba releases the interpreter lock, so that buckets run on all cores in threads, and keeps what it compiled on disk.
Only whole-number arithmetic is compiled: the same result on every machine and in every engine. With NUMBA_DISABLE_JIT=1 the
same source runs as plain Python, for a debugger and for tests that plant bugs.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
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
        if b"hub.clearing.kernel.compiled" in content or path.name in ("compiled.py", "rows.py", "vocabulary.py"):
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


# Without the wrappers for calls from Python, which take much of the time of compiling.
_INNER: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "forceinline": True,
}
# Whether references to arrays are counted. A callee that does not say takes it from its caller, so all say it.
_LENT: dict[str, Any] = {"_nrt": False}
_OWNED: dict[str, Any] = {"_nrt": True}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only compiled functions call and that makes no arrays; its source stays its meaning.

    Arrays are lent to it and not counted: counting references to a dozen tables with every call took two thirds of the
    sweep's time. A function that makes an array is refused when it is compiled ("only accept returning of array passed
    into the function"); it wants `compiled_with_memory`.
    """
    return cast(Callable[P, R], numba.njit(**_INNER, **_LENT)(function))


def compiled_with_memory(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only compiled functions call and that makes arrays of its own."""
    return cast(Callable[P, R], numba.njit(**_INNER, **_OWNED)(function))


def compiled_entry(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that Python calls."""
    # By this call, because the member exists only when numba runs.
    if vars(numba.config)["DISABLE_JIT"]:
        return _interpreted(function)
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True, **_OWNED)(function))


def _interpreted(function: Callable[P, R]) -> Callable[P, R]:
    """Let plain Python say `rows[i].start`, as compiled code does."""

    @wraps(function)
    def entry(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(Callable[..., R], function)(*(_with_names(arg) for arg in args), **kwargs)

    return entry


def _with_names(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.names:
        return value.view(np.recarray)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_with_names(part) for part in value))
    return value


def number(value: int) -> int:
    """Return a constant as a machine number.

    A plain constant handed to a compiled function would be compiled into a version of its own for every value.
    """
    return cast(int, np.int64(value))


ZERO = number(0)
NONE = number(-1)
