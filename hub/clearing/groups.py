"""How the 4096 buckets are shared out over the steps of clearing one window. Pure."""

from standards.canonical import BUCKETS


def bucket_range(group: int, groups: int) -> tuple[int, int]:
    """Return the half-open range of buckets of one group; the groups of a window cover every bucket once."""
    if not 0 <= group < groups <= BUCKETS:
        raise ValueError("a group is one of at most as many as there are buckets")
    return group * BUCKETS // groups, (group + 1) * BUCKETS // groups
