"""Other ways to find records of one act, on the same records: nothing, exact keys, an interval join in SQL. I/O: DuckDB.

A peer only says which records are one act. What counts of an act is decided for all of them alike, as the policy says:
the first role in its order, at the methodology's amount, never more than was claimed. Peers know no overlaps and hold
nothing, so besides all grams those of undisputed units are told apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hub.errors import UsageProblem
from standards.behaviours import accepted_behaviours
from standards.methodology import load_methodology
from standards.policy import ClearingPolicy, load_policy
from standards.quantify import quantify
from standards.schema import DECISION_SCHEMA, RECORD_SCHEMA, Precision, Role
from standards.units import MICRO

Whole = npt.NDArray[np.int64]
MOST_PEOPLE = 3
"""A key that more people carry is a constant: as the hub's policy has it, so that no peer stumbles over it."""
MAY_LACK = ("quantity", "unit", "event_key", "payment_key", "region", "claimed_mg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A way to find records of one act."""

    name: str
    about: str
    needs: tuple[str, ...]
    """Packages, of which it uses the first."""
    match: Callable[[pl.DataFrame], pl.DataFrame]
    """Takes valid records with `family`, returns `record_id` and `event_id` of each."""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of what it needs."""
        return {name: version(name) for name in self.needs}


def clear_with(peer: Peer, records: pl.DataFrame) -> pl.DataFrame:
    """Return DECISION of every record, as this peer would have it.

    Raises:
        UsageProblem: a package is not installed.
    """
    for name in peer.needs:
        load_package(name)
    valid = valid_records(records)
    matched = peer.match(valid)
    decided = _decide(valid.join(matched, on="record_id", how="left"), load_policy())
    bad = records.join(valid, on="record_id", how="anti").select(
        "record_id", verdict=pl.lit("rejected"), rule=pl.lit("input"), reason=pl.lit("bad_row"), counted_mg=0
    )
    absent = [pl.lit(None, pl.Int64).alias(name) for name in ("event_id", "canonical_record_id")]
    return pl.concat(
        [frame.select(list(DECISION_SCHEMA)).cast(DECISION_SCHEMA) for frame in (decided, bad.with_columns(absent))]
    )


def absent_packages(peer: Peer) -> list[str]:
    """Return what the peer needs and is not installed."""
    return [name for name in peer.needs if find_spec(name) is None]


def load_package(name: str) -> Any:
    """Import an optional package.

    Raises:
        UsageProblem: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as absent:
        raise UsageProblem(f"{name} is not installed; peers need: pip install 'tanlian[bench]'") from absent


def valid_records(records: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that keep the schema's rules, with their family and without constants for keys."""
    known = accepted_behaviours()
    family = pl.col("behaviour").replace_strict({c: b.family for c, b in known.items()}, default=None)
    good = [pl.col(name).is_not_null() for name in records.columns if name not in MAY_LACK]
    quantity = pl.col("quantity")
    valid = records.filter(
        *good,
        pl.col("behaviour").is_in(list(known)),
        pl.col("role").is_in([str(role) for role in Role]),
        pl.col("precision").is_in([str(grain) for grain in Precision]),
        pl.col("end_at") >= pl.col("start_at"),
        quantity.is_null() | (quantity.is_finite() & (quantity >= 0)),
    )
    people = [pl.col("subject_id").n_unique().over(key).alias(f"of_{key}") for key in ("event_key", "payment_key")]
    meant = [pl.when(pl.col(f"of_{key}") <= MOST_PEOPLE).then(key).alias(key) for key in ("event_key", "payment_key")]
    return valid.with_columns(people).with_columns(*meant, family=family).drop("of_event_key", "of_payment_key")


def components(ids: pl.Series, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return `record_id` and `event_id`: records that pairs connect, however far, are one event.

    Args:
        ids: all records.
        pairs: `one` and `other`, record ids.
    """
    order = ids.sort()
    all_ids = order.to_numpy()
    one, other = (np.searchsorted(all_ids, pairs[name].to_numpy()) for name in ("one", "other"))
    label: Whole = np.arange(len(all_ids))
    while True:
        least = np.minimum(label[one], label[other])
        lower = label.copy()
        # Labels go down along pairs, and roots take their followers along: few rounds even for long chains.
        for side in (one, other):
            np.minimum.at(lower, side, least)
            np.minimum.at(lower, label[side], least)
        lower = lower[lower]
        if np.array_equal(lower, label):
            return pl.DataFrame({"record_id": order, "event_id": all_ids[label]})
        label = lower


def _decide(matched: pl.DataFrame, policy: ClearingPolicy) -> pl.DataFrame:
    """Return decisions: of each event the first role counts, at the amount of the first that tells one."""
    # A record that the peer says nothing about is an event of its own.
    events = matched.with_columns(pl.coalesce("event_id", "record_id").alias("event_id"))
    micro = (pl.col("quantity") * MICRO).round().cast(pl.Int64)
    valued = quantify(events.with_columns(quantity_micro=micro).select(list(RECORD_SCHEMA)), load_methodology())
    rank = pl.col("role").replace_strict({role: place for place, role in enumerate(policy.role_order)})
    ranked = (
        events.with_columns(valued["reference_mg"])
        .with_columns(
            mg=pl.when(pl.col("reference_mg").is_not_null()).then(pl.min_horizontal("reference_mg", "claimed_mg"))
        )
        .sort("event_id", rank, "start_at", "record_id")
    )
    first = pl.col("record_id").first().over("event_id")
    counts = pl.col("record_id") == first
    return ranked.select(
        "record_id", "event_id",
        verdict=pl.when(counts).then(pl.lit("counted")).otherwise(pl.lit("duplicate")),
        rule=pl.lit("peer"), reason=pl.lit("peer"),
        counted_mg=pl.when(counts).then(pl.col("mg").drop_nulls().first().over("event_id")).otherwise(0).fill_null(0),
        canonical_record_id=first,
    )  # fmt: skip


# --- the peers --------------------------------------------------------------------------------------------------------


def _apart(records: pl.DataFrame) -> pl.DataFrame:
    return records.select("record_id", event_id="record_id")


def _exact_keys(records: pl.DataFrame) -> pl.DataFrame:
    links = []
    for key in ("event_key", "payment_key"):
        keyed = records.filter(pl.col(key).is_not_null())
        links.append(keyed.select(one="record_id", other=pl.col("record_id").min().over("subject_id", "family", key)))
    return components(records["record_id"], pl.concat(links))


# Every pair whose times come near each other is scored; a pair stays if each is the other's best on that platform. Points:
# nearness of the nearest moments, keys that agree or contradict, amounts. Tuned on seeds that are not reported.
INTERVAL_JOIN = """
with pair as (
    select a.record_id one, b.record_id other, a.platform one_from, b.platform other_from,
        case when a.precision = 'day' then 0
             when a.s = a.e or b.s = b.e then least(abs(a.s - b.s), abs(a.e - b.e))
             else (abs(a.s - b.s) + abs(a.e - b.e)) / 2 end apart,
        case when a.event_key = b.event_key then 12 when a.event_key <> b.event_key then -14 else 0 end
        + case when a.payment_key = b.payment_key then 12 when a.payment_key <> b.payment_key then -14 else 0 end keyed,
        case when a.quantity is null or b.quantity is null or a.unit is distinct from b.unit then 0
             when a.quantity = b.quantity and a.countable then 0
             when abs(a.quantity - b.quantity) <= 0.1 * greatest(a.quantity, b.quantity) then 2
             when abs(a.quantity - b.quantity) <= 0.2 * greatest(a.quantity, b.quantity) then 0 else -5 end amount
    from told a join told b
        on a.subject_id = b.subject_id and a.family = b.family and a.platform < b.platform
        and (a.precision = 'day') = (b.precision = 'day')
        and b.s <= a.e + 600 and a.s <= b.e + 600),
scored as (
    select *, keyed + amount + case when apart < 240 then 4 - apart / 60 else -apart / 200 end points from pair)
select one, other from scored where points > 1
qualify row_number() over (partition by one, other_from order by points desc, other) = 1
    and row_number() over (partition by other, one_from order by points desc, one) = 1
"""


def for_sql(records: pl.DataFrame) -> pl.DataFrame:
    """Return what SQL peers read: seconds since 1970, and whether acts of the behaviour are counted."""
    countable = {code: known.countable for code, known in accepted_behaviours().items()}
    return records.select(
        "record_id", "subject_id", "platform", "behaviour", "family", "precision", "quantity", "unit", "event_key",
        "payment_key", s=pl.col("start_at").dt.epoch("us") / 1e6, e=pl.col("end_at").dt.epoch("us") / 1e6,
        countable=pl.col("behaviour").replace_strict(countable, return_dtype=pl.Boolean),
    )  # fmt: skip


def _interval_join(records: pl.DataFrame) -> pl.DataFrame:
    with load_package("duckdb").connect() as database:
        database.register("told", for_sql(records).to_arrow())
        pairs = pl.DataFrame(pl.from_arrow(database.sql(INTERVAL_JOIN).to_arrow_table()))
    return _with_exact_keys(records, pairs)


def _with_exact_keys(records: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return events of found pairs, and of common keys.

    Parts of a payment come from one platform, and bookings by the day meet nobody's moment: keys tell them, and whoever
    uses a matcher would join them first.
    """
    keyed = _exact_keys(records).rename({"record_id": "one", "event_id": "other"})
    return components(records["record_id"], pl.concat([pairs, keyed]))


def _splink(records: pl.DataFrame) -> pl.DataFrame:
    from hub.bench.clearing.splink_peer import match_with_splink  # its package is optional

    found = match_with_splink(records).rename({"record_id": "one", "event_id": "other"})
    return _with_exact_keys(records, found)


_ALL = (
    Peer(name="nothing", about="every record is an act of its own", needs=(), match=_apart),
    Peer(name="exact-key", about="a common event or payment key is one act", needs=(), match=_exact_keys),
    Peer(name="sql-join", about="interval join, points, mutual best", needs=("duckdb",), match=_interval_join),
    Peer(name="splink", about="probabilistic linkage", needs=("splink", "duckdb"), match=_splink),
)
PEERS: Mapping[str, Peer] = MappingProxyType({peer.name: peer for peer in _ALL})
