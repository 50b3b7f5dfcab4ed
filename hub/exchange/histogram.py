"""Times in a few closed buckets: counted cheaply, added up over processes and hours, and read as quantiles. Pure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

BOUNDS_MS: tuple[int, ...] = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)
LATE_MINUTES: tuple[int, ...] = (5, 15, 60, 360, 1440, 2880, 10_080, 44_640)


def bucket_of(ms: float) -> int:
    """Return the bound of the bucket in which a time lies; the last one holds whatever took longer, too."""
    return BOUNDS_MS[min(bisect_left(BOUNDS_MS, ms), len(BOUNDS_MS) - 1)]


def quantile(buckets: Mapping[int, int], bounds: Sequence[int], percent: int) -> float:
    """Return what so many percent stay below, read along a straight line inside the bucket; 0 if nothing was counted.

    Args:
        buckets: bound -> how many lie between the bound before it and this one.

    Example:
        >>> quantile({10: 50, 25: 50}, BOUNDS_MS, 50), quantile({10: 50, 25: 50}, BOUNDS_MS, 75)
        (10.0, 17.5)
    """
    wanted = sum(buckets.values()) * percent / 100
    seen = 0
    for at, bound in enumerate(bounds):
        count = buckets.get(bound, 0)
        if count and seen + count >= wanted:
            low = bounds[at - 1] if at else 0
            return round(low + (bound - low) * (wanted - seen) / count, 3)
        seen += count
    return 0.0
