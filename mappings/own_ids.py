"""The platform's own id of each document, and nothing else of it. Pure.

What a hub keeps of an id is a keyed token; whoever speaks with the platform about its records reads the id again from
what was kept of them.
"""

import polars as pl

from mappings import model
from mappings.fill import Context, fill_field
from mappings.model import Mapping
from mappings.reader import read_documents

_CHUNK = 65_536  # rows at a time: bounds the memory


def read_source_ids(mapping: Mapping, payloads: pl.Series) -> pl.Series:
    """Return the `source_id` of each document (String, null where it cannot be read), in the order given.

    Args:
        payloads: String or Binary, one JSON document each, as `kept_payloads` returned them.
    """
    parts = [pl.Series("source_id", [], dtype=pl.String)]
    for start in range(0, len(payloads), _CHUNK):
        documents = read_documents(payloads.slice(start, _CHUNK), mapping.tree)
        context = Context(documents=documents, token_key=b"", accounts=None)
        filled = fill_field("source_id", mapping.fields["source_id"], context)
        if filled.series is None:
            parts.append(pl.Series("source_id", [None] * len(documents), dtype=pl.String))
        else:
            parts.append(filled.series.set(pl.Series(~filled.told), None).alias("source_id"))
    return pl.concat(parts)


def numbers_versions(mapping: Mapping) -> bool:
    """Tell whether the version is a whole number that stands in the platform's own record, always in one place."""
    cases = mapping.fields.get("version", ())
    return len(cases) == 1 and cases[0].when is None and isinstance(cases[0].transform, model.Number)
