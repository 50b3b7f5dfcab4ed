"""The tables that are published: behaviours, figures of every kind, rewards, sources, regions, overlaps. Pure."""

from collections.abc import Iterable
from dataclasses import fields
from fractions import Fraction
from typing import Any

from standards.behaviours import Behaviour, load_behaviours
from standards.choice import format_grams
from standards.documents.table import BETWEEN, Table, make_table, markdown_table, marked
from standards.exchanges import load_exchanges
from standards.factors import load_factors, load_sources
from standards.overlap import OverlapMatrix, load_overlaps
from standards.published import load_grid_factors, load_reference_values, load_rewards
from standards.regions import COUNTRY, load_regions, place_name, province_of
from standards.schemes import load_schemes

SUPPORT = {
    "C": "a source places it in T/ACEF 031-2022 or its family of standards",
    "c": "recorded by platforms; not confirmed to be in that standard",
    "U": "recalled, unproved",
}
NOT_GRAMS = "not grams of CO2e: the issuer's own unit, never converted or added to grams"
SETTLED = {
    "T2": "the same order, trip or payment number",
    "T3": "one person cannot do two at once: the weaker report is held",
    "T4": "time, quantity and duration fit",
    "allowed": "both count",
    "agreement": "clearing cannot see it: settled when a platform joins",
}
_BEHAVIOUR_COLUMNS = (
    "code", "category", "zh", "en", "aliases", "units", "published_units", "day_unit", "exclusivity_group", "family",
    "counts_one_without_quantity", "accepted", "support", "support_in_words", "sources",
)  # fmt: skip


def behaviour_table() -> Table:
    """Return the behaviour list."""
    return make_table(_BEHAVIOUR_COLUMNS, (_behaviour(b) for b in load_behaviours().values()))


def behaviour_page() -> str:
    """Return the behaviour list as a page, by category."""
    every = load_behaviours().values()
    parts = [
        "# Behaviours\n\n"
        f"{len(every)} kinds of low-carbon acts; the hub takes records of {sum(b.accepted for b in every)}. "
        "The first unit is the default of a record that names none; a day record of a behaviour with a day unit has that "
        "one. Of behaviours in one exclusivity group a person can do one at a time.\n\n"
        + "".join(f"- support {mark}: {marked(words)}\n" for mark, words in SUPPORT.items())
    ]
    for category in dict.fromkeys(b.category for b in every):
        rows = (
            (
                b.code, b.zh, b.en, b.aliases, b.units, b.day_unit, b.published_units, b.group, b.support, b.accepted,
                b.sources,
            )
            for b in every
            if b.category == category
        )  # fmt: skip
        columns = (
            "code", "中文", "English", "also called", "units", "day unit", "figures also per", "exclusivity group",
            "support", "accepted", "sources",
        )  # fmt: skip
        parts.append(f"## {category.capitalize()}\n\n{markdown_table(columns, rows)}")
    used = dict.fromkeys(source for b in every for source in b.sources)
    return "\n".join([*parts, _sources(used)])


def factor_table() -> Table:
    """Return every reduction factor with all its attributes; `grams` is for `per` units, exact."""
    rows = [_factor(row) for row in load_factors().to_dicts()]
    return make_table(list(rows[0]), (row.values() for row in rows))


def grid_table() -> Table:
    """Return the electricity factors; `kg_per_kwh` is exact decimal text."""
    rows = [
        row
        | {"kg_per_kwh": Fraction(row["mg_per_kwh"], 10**6), "region_name": _place(row["region"])}
        | _source(row["source"])
        for row in load_grid_factors().to_dicts()
    ]
    return make_table(list(rows[0]), (row.values() for row in rows))


def reference_table() -> Table:
    """Return the values that derivations lean on."""
    rows = [row | _source(row["source"]) for row in load_reference_values().to_dicts()]
    return make_table(list(rows[0]), (row.values() for row in rows))


def reward_table() -> Table:
    """Return what issuers pay in their own units, each row with the words that these are not grams."""
    rows = [{"what_it_is": NOT_GRAMS} | row | _source(row["source"]) for row in load_rewards().to_dicts()]
    return make_table(list(rows[0]), (row.values() for row in rows))


def scheme_table() -> Table:
    """Return who values or rewards acts, by what rules, and what of them is not public."""
    return _dataclass_table(load_schemes().values())


def exchange_table() -> Table:
    """Return what grams and points are exchanged for, each row with the words that these are not grams."""
    table = _dataclass_table(load_exchanges().values())
    return make_table(("what_it_is", *table.columns), ((NOT_GRAMS, *row) for row in table.rows))


def _dataclass_table(items: Iterable[Any]) -> Table:
    rows = list(items)
    names = [field.name for field in fields(rows[0])]
    return make_table(names, ([_several(getattr(row, name)) for name in names] for row in rows))


def _several(value: Any) -> Any:
    return BETWEEN.join(value) if isinstance(value, tuple) else value


def source_table() -> Table:
    """Return the register of sources."""
    return make_table(
        ("id", "title", "kind", "address"), ((s.id, s.title, s.kind, s.address) for s in load_sources().values())
    )


def region_table() -> Table:
    """Return the places that figures are chosen for."""
    regions = load_regions()
    rows = (
        (
            r.code, "province" if r.code % 10000 == 0 else "city", r.zh, r.en, province_of(r.code),
            regions[province_of(r.code)].grid,
        )
        for r in regions.values()
    )  # fmt: skip
    return make_table(("code", "level", "zh", "en", "province", "grid_area"), rows)


def overlap_table() -> Table:
    """Return the matrix of overlaps."""
    matrix = load_overlaps()
    rows = (
        (
            matrix.version, matrix.valid_from, matrix.clearing_policy, o.id, o.left, o.right, o.why, o.resolution,
            o.settled_by, tuple(_settled(name) for name in o.settled_by), o.sources,
        )
        for o in matrix.overlaps
    )  # fmt: skip
    columns = (
        "version", "valid_from", "clearing_policy", "id", "left", "right", "why", "resolution", "settled_by",
        "settled_in_words", "sources",
    )  # fmt: skip
    return make_table(columns, rows)


def overlap_page() -> str:
    """Return the matrix of overlaps as a page: groups, pairs, what settles each, and the sources."""
    matrix = load_overlaps()
    groups = markdown_table(
        ("group", "behaviours", "records of", "why"),
        ((g.id, _ordered(g.behaviours), tuple(sorted(g.precisions)), g.why) for g in matrix.groups.values()),
    )
    head = (
        f"# Overlaps: which reports can claim the same grams\n\nVersion `{matrix.version}`, valid from "
        f"{matrix.valid_from}, with the clearing policy `{matrix.clearing_policy}`. Where no source is named the rule is "
        "the hub's alone.\n"
    )
    parts = [
        head,
        f"## Groups\n\nOf the behaviours of one group a person can do one at a time.\n\n{groups}",
        "## Pairs\n",
        *(_overlap_section(matrix, number) for number in range(len(matrix.overlaps))),
        _sources(dict.fromkeys(source for o in matrix.overlaps for source in o.sources)),
    ]
    return "\n".join(parts)


def _overlap_section(matrix: OverlapMatrix, number: int) -> str:
    overlap = matrix.overlaps[number]
    rows = (
        ("one report", overlap.left),
        ("another", overlap.right),
        ("why", overlap.why),
        ("resolution", overlap.resolution),
        ("settled by", BETWEEN.join(f"{name} ({_settled(name)})" for name in overlap.settled_by)),
        ("sources", overlap.sources or ("the hub's own rule",)),
    )
    return f"### {overlap.id}\n\n{markdown_table(('', ''), rows)}"


def _settled(name: str) -> str:
    return SETTLED.get(name, f"rule {name} of the clearing policy")


def _ordered(codes: Iterable[str]) -> tuple[str, ...]:
    """In the order of the behaviour list."""
    wanted = frozenset(codes)
    return tuple(code for code in load_behaviours() if code in wanted)


def _behaviour(b: Behaviour) -> tuple[object, ...]:
    return (
        b.code, b.category, b.zh, b.en, b.aliases, b.units, b.published_units, b.day_unit, b.group, b.family, b.countable,
        b.accepted, b.support, SUPPORT[b.support], b.sources,
    )  # fmt: skip


def _factor(row: dict[str, Any]) -> dict[str, Any]:
    # A key that is there already keeps its place, so the grams stand beside the unit they are for.
    first = {name: row[name] for name in ("factor_id", "issuer", "behaviour", "unit")}
    told = first | {"grams": format_grams(row["amount_mg"]), "per": row["per"]} | row
    return told | {"region_name": _place(row["region"])} | _source(row["source"])


def _place(region: int | str | None) -> str:
    if region is None:
        return place_name(COUNTRY)
    return place_name(int(region) if str(region).isdecimal() else region)


def _source(name: str) -> dict[str, str]:
    return {"source_title": load_sources()[name].title, "source_address": load_sources()[name].address}


def _sources(names: Iterable[str]) -> str:
    """A section that says what the ids of sources mean."""
    rows = (
        (name, load_sources()[name].title, load_sources()[name].kind, load_sources()[name].address) for name in names
    )
    return f"## Sources\n\n{markdown_table(('id', 'title', 'kind', 'address'), rows)}"
