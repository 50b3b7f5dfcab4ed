"""The one place that says how loops over rows are compiled. Pure.

Numba releases the interpreter lock, so that buckets run on all cores in threads, and keeps what it compiled on disk.
Only whole-number arithmetic is compiled: the same result on every machine and in every engine.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only compiled functions call; its Python source stays its meaning."""
    # Without the wrappers for calls from Python, which take most of the time of compiling.
    options = {"cache": True, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
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
