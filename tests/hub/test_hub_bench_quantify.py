"""The benchmark of valuing measures what it says, on rows as they come; how fast is not a matter for a test."""

import os
from fractions import Fraction

import polars as pl
import pytest

from hub.bench.quantify import BATCHES, batch_sizes, measure_quantify, one_core, plainly, sample_records
from hub.commands.bench import quantify as command
from standards.behaviours import accepted_behaviours, default_unit
from standards.methodology import load_methodology
from standards.quantify import quantify
from standards.rates import SLICE, day_of
from standards.regions import places_of
from standards.schema import RECORD_SCHEMA, Role
from standards.units import MICRO


def test_both_sides_are_measured_and_the_ratio_is_theirs() -> None:
    figure = measure_quantify(rows=1_000, batch=500, rounds=1)
    assert (figure.rows, figure.batch) == (1_000, 500)
    assert 0.5 < figure.valued < 1
    assert figure.quantified_per_s > 0
    assert figure.ratio == pytest.approx(figure.quantified_per_s / figure.plain_per_s, rel=0.01)


def test_the_sample_has_all_kinds_of_rows_and_is_always_the_same() -> None:
    records = sample_records(2_000)
    assert records.schema == RECORD_SCHEMA
    assert records.equals(sample_records(2_000))
    assert set(accepted_behaviours()) < set(records["behaviour"])
    assert set(records["role"]) == set(Role)
    assert all(0 < records[name].null_count() < 1_000 for name in ("quantity_micro", "unit", "region"))


def test_a_batch_of_several_slices_is_valued_as_exact_arithmetic_says() -> None:
    methodology = load_methodology()
    records = sample_records(2 * SLICE + 77)
    amounts = quantify(records, methodology)["reference_mg"]
    # The rows around the seams, and some between.
    places = [*range(40), *range(SLICE - 40, SLICE + 40), *range(2 * SLICE - 40, 2 * SLICE + 77)]
    for place in places:
        row = records.row(place, named=True)
        assert amounts[place] == _exact(row, methodology), row


def _exact(row, methodology):
    known = accepted_behaviours().get(row["behaviour"])
    if known is None:
        return None
    unit = row["unit"] or default_unit(known.code, row["precision"])
    method = methodology.methods.get((known.code, unit))
    quantity = row["quantity_micro"]
    if quantity is None and known.counts_one(unit):
        quantity = MICRO
    if method is None or quantity is None:
        return None
    day = day_of(int(row["start_at"].timestamp()) * MICRO)
    witnessed = Role(row["role"]).is_witness
    rate = method.rate({i.name: i.choose(places_of(row["region"]), day, witnessed=witnessed) for i in method.inputs})
    if method.cap is not None:
        quantity = min(quantity, int(method.cap.value * MICRO))
    return round(Fraction(quantity, MICRO) * Fraction(rate.numerator * MICRO // rate.denominator, MICRO))


def test_the_plain_side_multiplies_by_one_rate() -> None:
    records = sample_records(1).with_columns(behaviour=pl.lit("MOB-BIKE"), unit=pl.lit("km"), quantity_micro=1_500_000)
    rates = pl.DataFrame({"behaviour": ["MOB-BIKE"], "unit": ["km"], "rate_mg": [33_881], "factor_id": ["bike-km"]})
    assert plainly(records, rates).select("reference_mg", "factor_id").row(0) == (50_821, "bike-km")


def test_one_core_is_given_back() -> None:
    before = os.sched_getaffinity(0)
    with one_core():
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_a_line_for_every_size_of_batch_that_the_rows_fill(capsys: pytest.CaptureFixture[str]) -> None:
    assert batch_sizes(10**6) == list(BATCHES)
    command(rows=600, rounds=1, as_json=True)
    told = capsys.readouterr()
    assert told.out.count('"bench": "quantify"') == told.out.count("\n") == 1
    assert '"ratio": ' in told.out
    assert told.err == ""
