"""Bytes and numbers that every engine must agree on: canonical JSON, digests, and the bucket of a person. Pure."""

import hashlib
from typing import overload

import numpy as np
import numpy.typing as npt
import polars as pl
import rfc8785

BUCKETS = 4096
_MASK64 = (1 << 64) - 1
# Constants of splitmix64 (Steele, Lea, Flood 2014; reference code by Vigna, 2015).
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_SHIFTS = (30, 27, 31)


class CanonicalError(ValueError):
    """The value has no canonical form (NaN, infinity, an integer of 2^53 or more, a Decimal, another type)."""


def canonical_bytes(value: object) -> bytes:
    """Return the RFC 8785 form of a JSON value: the same value gives the same bytes everywhere.

    Raises:
        CanonicalError: there is no such form; amounts belong in strings, because integers end at 2^53.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # its own type alias is narrower than what it checks
    except (rfc8785.CanonicalizationError, RecursionError) as cause:
        raise CanonicalError(f"no canonical form: {type(cause).__name__}") from cause


def digest(content: bytes) -> bytes:
    """Return the SHA-256 of the bytes."""
    return hashlib.sha256(content).digest()


def splitmix64(state: int) -> int:
    """Return the next output of a splitmix64 generator in this state: the state plus gamma, then mixed.

    Args:
        state: any integer; negative ones are taken as two's complement of 64 bits.

    Example:
        >>> hex(splitmix64(0))
        '0xe220a8397b1dcdaf'
    """
    z = (state + _GAMMA) & _MASK64
    z = ((z ^ (z >> _SHIFTS[0])) * _MIX_1) & _MASK64
    z = ((z ^ (z >> _SHIFTS[1])) * _MIX_2) & _MASK64
    return z ^ (z >> _SHIFTS[2])


def splitmix64_array(states: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64 of every element (64-bit integers, signed or not); overflow wraps, as it must."""
    z = states.view(np.uint64) + np.uint64(_GAMMA)
    z = (z ^ (z >> np.uint64(_SHIFTS[0]))) * np.uint64(_MIX_1)
    z = (z ^ (z >> np.uint64(_SHIFTS[1]))) * np.uint64(_MIX_2)
    return z ^ (z >> np.uint64(_SHIFTS[2]))


@overload
def bucket_of(subject_id: pl.Expr) -> pl.Expr: ...
@overload
def bucket_of(subject_id: pl.Series) -> pl.Series: ...
@overload
def bucket_of(subject_id: int) -> int: ...
def bucket_of(subject_id: pl.Expr | pl.Series | int) -> pl.Expr | pl.Series | int:
    """Return the bucket, 0 to 4095, of a person: splitmix64(subject_id) mod 4096.

    Args:
        subject_id: one number, an Int64 series, or an Int64 expression; the columnar answers are Int32, null for null.
    """
    if isinstance(subject_id, int):
        return splitmix64(subject_id) % BUCKETS
    if isinstance(subject_id, pl.Expr):
        return subject_id.map_batches(_bucket_series, return_dtype=pl.Int32, is_elementwise=True)
    return _bucket_series(subject_id)


def _bucket_series(subjects: pl.Series) -> pl.Series:
    states = subjects.cast(pl.Int64).fill_null(0).to_numpy()
    buckets = (splitmix64_array(states) & np.uint64(BUCKETS - 1)).astype(np.int32)
    return pl.Series(subjects.name, buckets).set(subjects.is_null(), None)
