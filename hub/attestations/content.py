"""What an attestation says: a person's cleared grams of a period, whole and by part, each claim hidden by itself. Pure.

    always open   iss, jti, iat, exp, vct, sub, [aud], [cnf], status, from, until, scope
    hidden        cleared_mg, final_mg, acts, platforms_count, methodologies, policies,
                  by_category_mg.<category> (all of them, zeros too), by_region_mg.<province>

`cleared_mg` is what counts, of windows that are cleared; its parts add up to it. `final_mg` is what of it was credited in
windows that are final: held now, or used since. `from` and `until` are days of acts in Asia/Shanghai, both included.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from consent.details import ZONE, Detail
from hub.attestations.sdjwt import Disclosure, hide
from hub.errors import UsageProblem
from standards.behaviours import CATEGORIES, load_behaviours
from standards.regions import province_of

VCT = "urn:tanlian:attestation:cleared-total:1"
TYPE = "dc+sd-jwt"
LIFE = timedelta(days=365)
LONGEST = timedelta(days=5 * 366)
MOST_A_DAY = 10
"""How many attestations a recipient, or the person for themself, may have made of one person in a day (China)."""
EARLIEST = date(2000, 1, 1)
BY_CATEGORY, BY_REGION = "by_category_mg", "by_region_mg"
SINGLE = ("cleared_mg", "final_mg", "acts", "platforms_count", "methodologies", "policies")
GROUPS = (BY_CATEGORY, BY_REGION)
NOWHERE = "unknown"
"""The region of acts whose record tells no place."""
REGIONS_STEP = 8  # digests of regions come in multiples of this: how many regions there are is told to nobody
ACTS_SCHEMA: dict[str, Any] = {
    "event_id": pl.Int64(), "start_us": pl.Int64(), "behaviour": pl.String(), "platform": pl.String(),
    "region": pl.Int32(), "methodology": pl.String(), "policy": pl.String(), "final": pl.Boolean(),
    "mg": pl.Int64(), "issued_mg": pl.Int64(), "back_mg": pl.Int64(),
}  # fmt: skip
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants attested. `holder` is the public key of a holder who will prove it, as a JWK of four members."""

    since: date
    until: date
    disclose: tuple[str, ...]
    holder: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the acts of a period come to; amounts in milligrams."""

    cleared_mg: int
    final_mg: int
    acts: int
    platforms_count: int
    methodologies: tuple[str, ...]
    policies: tuple[str, ...]
    by_category_mg: Mapping[str, int] = field(default_factory=dict)
    by_region_mg: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What an attestation says beside the grams: who says it, to whom, about whom, until when, where to ask."""

    attestation_id: str
    issuer: str
    subject: str
    audience: str | None
    scope: str
    issued_at: datetime
    expires_at: datetime
    status_uri: str
    status_index: int


def parse_day(text: str, name: str) -> date:
    """Return a day; raises UsageProblem naming the field."""
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else _no_day(name)
    except ValueError:
        return _no_day(name)


def require_period(since: date, until: date, *, now: datetime) -> None:
    """Raise UsageProblem if a period has no day, is too long or lies in the future."""
    today = now.astimezone(ZONE).date()
    if since > until:
        raise UsageProblem("the period is empty: from must not be after until")
    if until > today:
        raise UsageProblem(f"the period ends in the future: until can be {today.isoformat()} at the latest")
    if since < EARLIEST or until - since >= LONGEST:
        raise UsageProblem(f"the period is too long: at most {LONGEST.days} days, from {EARLIEST.isoformat()} on")


def require_names(disclose: Sequence[str]) -> None:
    """Raise UsageProblem if nothing is to be disclosed, or a name can be no claim's."""
    if not disclose or len(set(disclose)) != len(disclose):
        raise UsageProblem("disclose must name at least one claim, and none of them twice")
    for name in disclose:
        group, _, member = name.partition(".")
        known = name in (*SINGLE, *GROUPS) or (group == BY_CATEGORY and member in CATEGORIES)
        if not (known or (group == BY_REGION and re.fullmatch(rf"[1-8][0-9]0000|{NOWHERE}", member))):
            raise UsageProblem(
                f"disclose can name {', '.join((*SINGLE, *GROUPS))}, or one part such as {BY_CATEGORY}.travel"
            )


def within(acts: pl.DataFrame, since: date, until: date) -> pl.DataFrame:
    """Return the acts (ACTS_SCHEMA) of a period: by the day on which they began, in Asia/Shanghai."""
    day = pl.col("start_us").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(ZONE.key).dt.date()
    return acts.filter(day.is_between(since, until))


def total(acts: pl.DataFrame) -> Totals:
    """Add acts (ACTS_SCHEMA) up. What was taken back of an act is not counted, and no act counts below zero."""
    categories = {code: behaviour.category for code, behaviour in load_behaviours().items()}
    counted = acts.with_columns(
        cleared=(pl.col("mg") - pl.col("back_mg")).clip(0),
        kept=pl.when("final").then((pl.min_horizontal("mg", "issued_mg") - pl.col("back_mg")).clip(0)).otherwise(0),
        category=pl.col("behaviour").replace_strict(categories, return_dtype=pl.String),
        place=pl.col("region")
        .map_elements(lambda code: str(province_of(code)), return_dtype=pl.String)
        .fill_null(NOWHERE),
    )
    return Totals(
        cleared_mg=int(counted["cleared"].sum()),
        final_mg=int(counted["kept"].sum()),
        acts=len(counted),
        platforms_count=counted["platform"].n_unique(),
        methodologies=tuple(sorted(counted["methodology"].unique())),
        policies=tuple(sorted(counted["policy"].unique())),
        by_category_mg=dict.fromkeys(sorted(CATEGORIES), 0) | _sums(counted, "category"),
        by_region_mg=_sums(counted, "place"),
    )


def claims_of(totals: Totals, asked: Asked, setting: Setting) -> tuple[dict[str, Any], list[Disclosure]]:
    """Return the signed payload of an attestation, and all its disclosures."""
    single = {name: getattr(totals, name) for name in SINGLE}
    single |= {name: list(single[name]) for name in ("methodologies", "policies")}
    digests, disclosures = hide(single)
    payload: dict[str, Any] = {
        "iss": setting.issuer,
        "jti": setting.attestation_id,
        "iat": int(setting.issued_at.timestamp()),
        "exp": int(setting.expires_at.timestamp()),
        "vct": VCT,
        "sub": setting.subject,
        **({} if setting.audience is None else {"aud": setting.audience}),
        **({} if asked.holder is None else {"cnf": {"jwk": dict(asked.holder)}}),
        "status": {"status_list": {"idx": setting.status_index, "uri": setting.status_uri}},
        "from": asked.since.isoformat(),
        "until": asked.until.isoformat(),
        "scope": setting.scope,
        "_sd": digests,
        "_sd_alg": "sha-256",
    }
    for name in GROUPS:
        parts: Mapping[str, int] = getattr(totals, name)
        payload[name] = {}
        payload[name]["_sd"], hidden = hide(parts, decoys=-len(parts) % REGIONS_STEP if name == BY_REGION else 0)
        disclosures += hidden
    return payload, disclosures


def paths_of(totals: Totals, disclose: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of the claims to disclose; a group stands for all its parts.

    Raises:
        UsageProblem: a part is named that this attestation does not have.
    """
    found: list[str] = []
    for name in disclose:
        group, _, member = name.partition(".")
        parts: Mapping[str, int] = getattr(totals, group) if group in GROUPS else {}
        if member and member not in parts:
            raise UsageProblem(f"nothing was cleared for {name} in this period")
        found += [name] if member or group not in GROUPS else [f"{group}.{part}" for part in sorted(parts)]
    return tuple(dict.fromkeys(found))


def still_covers(new: Sequence[Detail], old: Sequence[Detail], *, begin: datetime, end: datetime) -> bool:
    """Tell whether what was attested for a period under some details is allowed by others that replaced them."""
    needed = [one for one in old if "read" in one.actions and one.since < end and one.until > begin]
    return all(
        any(
            "read" in given.actions
            and given.behaviours >= one.behaviours
            and given.platforms >= one.platforms
            and given.since <= max(one.since, begin)
            and given.until >= min(one.until, end)
            for given in new
        )
        for one in needed
    )


def _sums(counted: pl.DataFrame, part: str) -> dict[str, int]:
    sums = counted.group_by(part).agg(pl.col("cleared").sum()).sort(part)
    return {str(name): int(mg) for name, mg in sums.iter_rows()}


def _no_day(name: str) -> date:
    raise UsageProblem(f"{name} must be a day such as 2026-01-31")
