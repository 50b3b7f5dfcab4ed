"""Read and check every data file of the standards at once: at start-up, by command, and in the tests. Pure."""

from standards.behaviours import accepted_behaviours, load_behaviours
from standards.datafile import DataError
from standards.exchanges import load_exchanges
from standards.factors import load_factors, load_sources
from standards.methodology import CURRENT_METHODOLOGY, load_methodology, methodology_versions
from standards.overlap import load_overlaps
from standards.policy import load_policy
from standards.published import load_grid_factors, load_reference_values, load_rewards
from standards.rates import rate_table
from standards.regions import load_regions
from standards.schemes import load_schemes


def check_standards(in_use: str = CURRENT_METHODOLOGY) -> dict[str, int]:
    """Load everything, see that the methodology in use is there and that the newest values all that the hub accepts.

    An older one may know fewer behaviours; acts of the others then count nothing, with a reason.

    Returns:
        How many entries each table has.

    Raises:
        DataError: a file breaks its own rules or another's; the text names file and, where known, line.
    """
    entries = {
        "behaviours": len(load_behaviours()),
        "sources": len(load_sources()),
        "regions": len(load_regions()),
        "factors": len(load_factors()),
        "electricity factors": len(load_grid_factors()),
        "reference values": len(load_reference_values()),
        "rewards": len(load_rewards()),
        "schemes": len(load_schemes()),
        "exchanges": len(load_exchanges()),
        "clearing rules": len(load_policy().overlaps),
        "overlaps": len(load_overlaps().overlaps),
    }
    load_methodology(in_use)
    for version in methodology_versions():
        methodology = load_methodology(version)
        entries[f"methods of {version}"] = len(methodology.methods)
        entries[f"rates of {version}"] = len(rate_table(methodology).rates)
    wanted = {(b.code, unit) for b in accepted_behaviours().values() for unit in b.units}
    missing = wanted - load_methodology().methods.keys()
    if missing:
        lacking = ", ".join(f"{code} per {unit}" for code, unit in sorted(missing))
        raise DataError(f"methodology-{CURRENT_METHODOLOGY}.toml: no method for {lacking}")
    return entries
