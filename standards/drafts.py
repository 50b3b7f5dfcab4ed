"""Check a data file that is not in use yet: a draft of a methodology, of factors, or of any other table. Pure.

What kind of file it is shows in the names of its tables. It is read by the very parser that reads the file in use, against
the tables in use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from standards.behaviours import load_behaviours, parse_behaviours
from standards.datafile import DataError, load_document
from standards.documents.examples import parse_examples, work_out
from standards.exchanges import parse_exchanges
from standards.factors import load_sources, parse_factors, parse_sources
from standards.methodology import load_methodology, parse_methodology
from standards.overlap import parse_overlaps
from standards.plausibility import parse_neighbours
from standards.policy import load_policy, parse_policy
from standards.published import parse_grid_factors, parse_reference_values, parse_rewards
from standards.rates import rate_table
from standards.regions import parse_regions
from standards.schemes import parse_schemes
from standards.uses import parse_use_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a file was taken for, and how many entries it has."""

    kind: str
    entries: int


def check_draft(file: Path) -> Checked:
    """Read one file and hold it to all rules of its kind.

    Raises:
        DataError: it breaks a rule, or is of no known kind; the text names file and, where known, line.
    """
    tables = [name for name, value in load_document(file).items() if isinstance(value, list | dict)]
    known = next(((kind, check) for table, (kind, check) in KINDS.items() if table in tables), None)
    if known is None:
        names = ", ".join(f"[[{table}]] {kind}" for table, (kind, _) in KINDS.items())
        raise DataError(f"{file.name}: no table that says what it is; there are {names}")
    kind, check = known
    return Checked(kind=kind, entries=check(file))


def _methodology(file: Path) -> int:
    methodology = parse_methodology(file)
    # Nothing may fail only when the first record is valued.
    rate_table(methodology)
    return len(methodology.methods)


def _examples(file: Path) -> int:
    examples = parse_examples(file)
    for example in examples:
        work_out(example, load_methodology(example.methodology))
    return len(examples)


def _overlaps(file: Path) -> int:
    return len(parse_overlaps(file, load_policy()).overlaps)


# By the table that only such a file has.
KINDS: Mapping[str, tuple[str, Callable[[Path], int]]] = MappingProxyType(
    {
        "method": ("methodology", _methodology),
        "example": ("worked examples", _examples),
        "factor": ("factors", lambda file: len(parse_factors(file, load_behaviours(), load_sources()))),
        "grid": ("electricity factors", lambda file: len(parse_grid_factors(file))),
        "reference": ("reference values", lambda file: len(parse_reference_values(file))),
        "reward": ("rewards", lambda file: len(parse_rewards(file))),
        "behaviour": ("behaviours", lambda file: len(parse_behaviours(file))),
        "source": ("sources", lambda file: len(parse_sources(file))),
        "province": ("regions", lambda file: len(parse_regions(file))),
        "neighbour": ("neighbours", lambda file: len(parse_neighbours(file))),
        "scheme": ("schemes", lambda file: len(parse_schemes(file, ()))),
        "exchange": ("exchanges", lambda file: len(parse_exchanges(file))),
        "use": ("rules of use", lambda file: len([parse_use_rules(file)])),
        "group": ("overlaps", _overlaps),
        "match": ("clearing policy", lambda file: len(parse_policy(file).overlaps)),
    }
)
