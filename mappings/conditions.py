"""Where the conditions of a mapping hold, for a whole batch. Pure."""

import numpy as np

from mappings.decimals import EXACT, parse_whole
from mappings.model import AllOf, AnyOf, Condition, Equals, EqualsNumber, IsAbsent, IsFlag, Not
from mappings.reader import Documents
from mappings.texts import Mask


def find_rows(condition: Condition, documents: Documents) -> Mask:
    """Return where the condition holds; a field that is not told equals nothing."""
    rows: Mask
    match condition:
        case Not():
            rows = ~find_rows(condition.condition, documents)
        case AllOf():
            rows = np.logical_and.reduce([find_rows(part, documents) for part in condition.conditions])
        case AnyOf():
            rows = np.logical_or.reduce([find_rows(part, documents) for part in condition.conditions])
        case Equals():
            rows = documents.field(condition.paths).texts.find(condition.values) >= 0
        case EqualsNumber():
            values, states = parse_whole(documents.field(condition.paths).texts, places=6)
            rows = (states == EXACT) & (values == condition.value_micro)
        case IsAbsent():
            rows = documents.field(condition.paths).absent == condition.expected
        case IsFlag():
            rows = documents.field(condition.paths).flag == int(condition.expected)
        case _:
            rows = documents.field(condition.paths).texts.equals(documents.field(condition.others).texts)
    return rows
