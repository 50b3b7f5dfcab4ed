"""Platforms' words to ours: one data file per platform and format version, and the engine that applies it. Pure.

The person is not known here, and neither are network, clock and database.
"""

from mappings.keep import kept_payloads
from mappings.load import list_mappings, load_mapping, parse_mapping, use_mappings_from
from mappings.model import Mapping
from mappings.reasons import Reason
from mappings.section import MappingError
from mappings.tokens import event_token
from mappings.translate import Translation, translate

__all__ = [
    "Mapping",
    "MappingError",
    "Reason",
    "Translation",
    "event_token",
    "kept_payloads",
    "list_mappings",
    "load_mapping",
    "parse_mapping",
    "translate",
    "use_mappings_from",
]
