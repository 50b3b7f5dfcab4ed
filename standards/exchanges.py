"""What grams, points, energy and credits are exchanged for, as issuers told it: information, never a rate. Pure.

Reads `data/exchanges.toml`. Amounts stay texts with their units: nothing here is computed with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.datafile import DATA, Row, load_rows
from standards.factors import DATED, load_sources
from standards.schemes import load_schemes
from standards.units import UnitError, parse_decimal

KINDS = frozenset({"earn", "redeem", "market", "condition", "range", "not-found"})
OWNERSHIPS = frozenset({"taken-back", "to-enterprise"})
STATUSES = frozenset({"published", "derived", "not-found"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What grams or points are exchanged for, as its issuer told it."""

    id: str
    issuer: str
    kind: str
    gives: str | None
    """Decimal text with its unit, such as "1000 g"."""
    gets: str | None
    rule: str
    ownership: str | None
    """Who has the reduction afterwards: taken-back, to-enterprise, or None if the source does not tell."""
    valid_from: date | None
    valid_until: date | None
    dated: str
    sources: tuple[str, ...]
    status: str


@cache
def load_exchanges() -> Mapping[str, Exchange]:
    """Return all exchanges by id, in the order of the file."""
    return parse_exchanges(DATA / "exchanges.toml")


def parse_exchanges(file: Path) -> Mapping[str, Exchange]:
    """Read and check a table of exchanges.

    Raises:
        DataError: a row breaks a rule; the text names file and line.
    """
    exchanges: dict[str, Exchange] = {}
    for row in load_rows(file, "exchange"):
        exchange = _parse_row(row)
        if exchange.id in exchanges:
            raise row.error(f"exchange {exchange.id} occurs twice")
        exchanges[exchange.id] = exchange
    return MappingProxyType(exchanges)


def _parse_row(row: Row) -> Exchange:
    exchange = Exchange(
        id=row.text("id"),
        issuer=row.text("issuer", frozenset(load_schemes())),
        kind=row.text("kind", KINDS),
        gives=_amount(row, "gives"),
        gets=_amount(row, "gets"),
        rule=row.text("rule"),
        ownership=row.text_or_none("ownership", OWNERSHIPS),
        valid_from=row.day_or_none("valid_from"),
        valid_until=row.day_or_none("valid_until"),
        dated=row.text_or_none("dated", DATED) or "unknown",
        sources=row.texts("sources", allowed=frozenset(load_sources()) - {"U"}),
        status=row.text("status", STATUSES),
    )
    row.finish()
    if (exchange.gives is None) != (exchange.gets is None):
        raise row.error("what is given and what is got come together")
    if (exchange.kind == "not-found") != (exchange.status == "not-found"):
        raise row.error("kind and status must both say that nothing was found, or neither")
    if not exchange.sources and exchange.status != "not-found":
        raise row.error("a rule without a source")
    if (exchange.valid_from is None) != (exchange.dated == "unknown"):
        raise row.error('valid_from is missing, or there although dated is "unknown"')
    return exchange


def _amount(row: Row, name: str) -> str | None:
    if name not in row.values and f"{name}_unit" not in row.values:
        return None
    text, unit = row.text(name), row.text(f"{name}_unit")
    try:
        positive = parse_decimal(text) > 0
    except UnitError as cause:
        raise row.error(f"{name}: {cause}") from cause
    if not positive:
        raise row.error(f"{name} must be more than zero")
    return f"{text} {unit}"
