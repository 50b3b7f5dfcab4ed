"""The tables that the compiled kernel works on: whole numbers only, one packed row per record. Pure.

Packed rows, not a column each: the sweep looks at many fields of few neighbouring records, and one array instead of
twenty keeps compiling short.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Table = npt.NDArray[Any]
"""A structured array; which one is said by the name: `rows` is ROW, `clusters` is CLUSTER, `events` is EVENT."""

NEW, LIVE_MEMBER, LIVE_CANONICAL = 0, 1, 2
SECOND, MINUTE, DAY = 0, 1, 2
UNTOLD = -1
US = 1_000_000

# Valid records as their platforms tell them; -1 where a platform tells no amount, 0 where it gives no usable key or region.
TOLD = np.dtype(
    [
        ("record", "i8"),
        ("subject", "i8"),
        ("start", "i8"),
        ("end", "i8"),
        ("quantity", "i8"),
        ("claim", "i8"),
        ("event_key", "u8"),
        ("payment_key", "u8"),
        ("region", "i4"),
        ("family", "i2"),
        ("behaviour", "i2"),
        ("platform", "i2"),
        ("unit", "i2"),
        ("rank", "i1"),
        ("grain", "i1"),
        ("live", "i1"),
        ("elsewhere", "i1"),
    ],
    align=True,
)
# The same, sorted by bucket, subject, family, start, platform, record, with what the hub knows. Of records cleared before,
# `event` is their event and `counted` what the canonical one counts (-1 if it does not). `reference` is the methodology's
# amount. `day` is the number of the service day: of a day record the nearest, of a moment the one it lies in. `elsewhere` is
# 1 if the act that people share under this key counts for another person. `waived` is 0, or the number among this person's
# of the act that a reviewer released: it is not doubted again, and its reports stay one act.
ROW = np.dtype(
    [
        *((name, TOLD[name]) for name in TOLD.names or ()),
        ("event", "i8"),
        ("counted", "i8"),
        ("reference", "i8"),
        ("day", "i4"),
        ("waived", "i2"),
    ],
    align=True,
)
# Of a behaviour. Limits are -1 where there is none; overlap rules are their number in the policy + 1, 0 for none:
# `displaces` if days of it can be displaced, `contained` if its days contain its trips.
BEHAVIOUR = np.dtype(
    [
        ("max_quantity", "i8"),
        ("max_per_hour", "i8"),
        ("max_day", "i8"),
        ("max_total", "i8"),
        ("max_acts", "i8"),
        ("per_unit", "i8"),
        ("exclusive", "i1"),
        ("day_act", "i1"),
        ("displaces", "i1"),
        ("contained", "i1"),
        ("once", "i1"),
        ("shared", "i1"),
        ("energy", "i1"),
        ("steps", "i1"),
        ("located", "i1"),
    ],
    align=True,
)
ROLE = np.dtype([("acting", "i1"), ("payment", "i1"), ("mixes", "i1"), ("alone", "i1"), ("there", "i1")])
# What is known of a platform's records of a behaviour: 1 yes, 0 no, -1 unknown. `ends`: a single moment is the end of the
# act, 2 if it is now its begin and now its end; `mixes`: it cannot tell the behaviours of the family apart; `own`: nobody
# else knows its event keys, 2 if that is so of some.
CUSTOM = np.dtype([("ends", "i1"), ("mixes", "i1"), ("own", "i1")])
SETTING_NAMES = (
    "accept",
    "hold",
    "tie",
    "stretch",
    "longest",
    "component",
    "key_conflict",
    "key_doubt",
    "behaviour_points",
    "lag_points",
    "lag_slope",
    "key_span",
    "parts",
    "slack",
    "share",
    "total",
    "negligible",
    "fastest",
    "local",
    "furthest",
    "step_unit",
    "min_steps",
    "round_steps",
    "span_days",
    "same_days",
    "band_days",
    "band",
    "full_days",
    "full",
    "waives",
)
SETTINGS = np.dtype([(name, "i8") for name in SETTING_NAMES])


class Rules(NamedTuple):
    """The policy and the learnt facts, by code."""

    settings: Table
    """SETTINGS, one row."""
    behaviours: Table
    """BEHAVIOUR by code."""
    roles: Table
    """ROLE by rank."""
    customs: Table
    """CUSTOM by platform and behaviour."""
    counts_one: I8
    """By behaviour and unit: 1 if a record without quantity stands for one act."""
    role_ends: I8
    """By rank and family: a single moment is the end of the act, where nothing is known of the platform."""
    window: I64
    """Seconds by family."""
    usual: I64
    """Seconds by family: how long an act usually lasts at most; 0 where that is of no use."""
    together: I8
    """By platform and platform: 1 if two acting platforms are known to report the same acts."""
    families: I64
    """By family: the fewest acts and the least quantity (in millionths) that a day may have, and 1 if it tells steps."""
    apart: I64
    """By province and province (first two digits): the least kilometres between them, 0 where nobody is held for it."""
    displaced: I8
    """By behaviour of the day and of the act: the overlap rule by which the day does not count beside the act."""
    time_line: I64
    """Row 0 seconds, row 1 points."""
    quantity_steps: I64
    """Row 0 permille, row 1 points; the last permille is without meaning."""
    duration_steps: I64
