"""The one place where this package meets its compiler: typed decorators for the loops over bytes. Pure."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over bytes. A kernel may call the inlined functions of its own file only.

    Numba's cache is stamped with the file of the outer function: a function from another file could be changed without
    this one being compiled again. A small part may therefore stand in two files.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to write a cache, as in a read-only container: compile in every process
        compiled = numba.njit(nogil=True)(function)
    return cast(Callable[P, R], compiled)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a part of a kernel into it: calls that pass arrays count references, which costs more than the work."""
    return cast(Callable[P, R], numba.njit(forceinline=True, nogil=True)(function))
