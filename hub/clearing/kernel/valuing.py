"""The methodology's amounts of encoded records: the same table of rates as quantification has, by code. Pure."""

import numpy as np

from hub.clearing.kernel.codes import Catalogue
from hub.clearing.kernel.rows import I16, Table
from standards.behaviours import accepted_behaviours
from standards.methodology import Methodology
from standards.rates import NONE, rate_table, slices_of
from standards.schema import Role
from standards.units import MICRO


class Valuer:
    """A methodology by the catalogue's codes."""

    def __init__(self, catalogue: Catalogue, methodology: Methodology) -> None:
        self.catalogue = catalogue
        self._table = rate_table(methodology)
        known = accepted_behaviours()
        pairs = [[(known[code], unit) for unit in catalogue.units] for code in catalogue.behaviours]
        methods = [[self._table.method_number(b.code, unit) for b, unit in row] for row in pairs]
        self._methods: I16 = np.array(methods, np.int16)
        self._counts_one = np.array([[unit in b.units and b.counts_one(unit) for b, unit in row] for row in pairs])
        self._witnessed = np.array([Role(role).is_witness for role in catalogue.roles], np.int8)

    def fill(self, rows: Table) -> None:
        """Fill in `reference` of ROW; rows with unknown words get any amount, and are rejected anyway."""
        for part in slices_of(len(rows)):
            some = rows[part]
            behaviour, unit, quantity = some["behaviour"], some["unit"], some["quantity"]
            witnessed = self._witnessed[some["rank"]]
            rate = self._table.find(self._methods[behaviour, unit], some["region"], some["start"], witnessed)
            one = np.where(self._counts_one[behaviour, unit], MICRO, NONE)
            some["reference"] = self._table.amounts(rate, np.where(quantity < 0, one, quantity))
