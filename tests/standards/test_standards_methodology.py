"""The methodology covers what the hub accepts, cautiously, and a bad one is refused with file and line."""

import shutil

import polars as pl
import pytest

from standards.behaviours import accepted_behaviours
from standards.datafile import DATA, DataError
from standards.factors import load_factors
from standards.methodology import load_methodology, parse_methodology
from standards.overlap import load_overlaps
from standards.policy import load_policy

FILE = DATA / "methodology-hub-2026.1.toml"


def test_every_accepted_behaviour_has_one_positive_rate_for_each_of_its_units():
    methodology = load_methodology()
    wanted = {(code, unit) for code, behaviour in accepted_behaviours().items() for unit in behaviour.units}
    assert set(methodology.by_unit) == wanted
    assert len(methodology.rates) == len(wanted) == 23
    assert (methodology.rates["mg_per_unit"] > 0).all()


def test_no_rate_is_above_any_figure_in_grams_that_is_published_for_its_unit():
    # Hubei lowered these because nobody saw the act; the hub's other rules care for evidence.
    factors = load_factors().filter((pl.col("evidence") != "self-check-in") & (pl.col("status") != "hub-assumption"))
    for (behaviour, unit), rate in load_methodology().by_unit.items():
        for row in factors.filter(behaviour=behaviour, unit=unit).iter_rows(named=True):
            assert rate * row["per"] <= row["amount_mg"], (behaviour, unit, row["factor_id"])


def test_a_hub_assumption_is_used_only_where_nobody_publishes_a_dated_figure():
    factors = load_factors()
    dated = factors.filter((pl.col("status") != "hub-assumption") & pl.col("valid_from").is_not_null())
    published = set(dated.select("behaviour", "unit").iter_rows())
    assumed = load_methodology().rates.filter(status="hub-assumption")
    assert not set(assumed.select("behaviour", "unit").iter_rows()) & published
    assert set(assumed["behaviour"]) == {
        "FOOD-OWNCUP", "HOME-WASTESORT", "MOB-WALK", "MOB-NODRIVE", "MOB-EV", "MOB-CARPOOL",
    }  # fmt: skip


def test_a_walk_and_its_steps_weigh_the_same():
    rates = load_methodology().by_unit
    rule = next(rule for rule in load_policy().overlaps if rule.id == "steps-and-walk")
    assert rates["MOB-WALK", "km"] == rule.per_unit * rates["MOB-WALK", "steps"]


def test_a_version_is_loaded_once_and_an_unknown_one_is_refused():
    assert load_methodology("hub-2026.1") is load_methodology("hub-2026.1")
    with pytest.raises(DataError, match=r"^methodology-hub-1999.1.toml"):
        load_methodology("hub-1999.1")


def test_a_version_must_be_that_of_its_file(tmp_path, monkeypatch):
    shutil.copy(FILE, tmp_path / "methodology-hub-2030.1.toml")
    monkeypatch.setattr("standards.methodology.DATA", tmp_path)
    with pytest.raises(DataError, match=r"says it is hub-2026.1, not hub-2030.1"):
        load_methodology("hub-2030.1")


REFUSED = {
    "no rate for a unit": (
        ('[[rate]]\nbehaviour = "MOB-BUS"\nunit = "km"\nfactor = "shenzhen-bus-km"\n', ""),
        r"m.toml: no rate for MOB-BUS per km",
    ),
    "a factor of another behaviour": (
        ('[[rate]]\nbehaviour = "MOB-EV"\n', '[[rate]]\nbehaviour = "MOB-CARPOOL"\n'),
        r"m.toml:\d+: factor hub-2026-ev is for MOB-EV per km",
    ),
    "an unknown factor": (('"shenzhen-bus-km"', '"atlantis"'), r"m.toml:\d+: unknown factor 'atlantis'"),
    "a factor of another unit": (
        ('"shenzhen-bus-km"', '"luzhou-bus"'),
        r"m.toml:\d+: factor luzhou-bus is for MOB-BUS per trip",
    ),
    "a factor that does not hold yet": (
        ("valid_from = 2026-01-01", "valid_from = 2020-01-01"),
        r"m.toml:\d+: factor .* does not hold yet",
    ),
    "a factor that holds no more": (
        ('"hello-bike"', '"wuhan-2024-bike"'),
        r"m.toml:\d+: factor wuhan-2024-bike holds no more on 2026-01-01",
    ),
    "a rate above its factor": (
        ("mg_per_unit = 16\n", "mg_per_unit = 17\n"),
        r"m.toml:\d+: mg_per_unit 17 is not below",
    ),
    "a lower rate without a reason": (
        ('factor = "shenzhen-bus-km"', 'factor = "shenzhen-bus-km"\nmg_per_unit = 1'),
        r"m.toml:\d+: mg_per_unit and its reason come together",
    ),
    "a rate of nothing": (("mg_per_unit = 16\n", "mg_per_unit = 0\n"), r"m.toml:\d+: a rate of 0 mg is out of range"),
    "an unknown table": (("[[rate]]", "[[extra]]\n[[rate]]"), r"m.toml: unknown tables: extra"),
    "a misspelt member": (("formula =", "formule ="), r"m.toml:1: formula is missing"),
    "an unaccepted behaviour": (('"MOB-EV"', '"MOB-ETC"'), r"m.toml:\d+: MOB-ETC per km is not an accepted"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_methodology_is_refused_for(tmp_path, change, message):
    file = tmp_path / "m.toml"
    text = FILE.read_text(encoding="utf-8")
    assert change[0] in text
    file.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=f"^{message}"):
        parse_methodology(file, load_factors())


def test_a_second_rate_for_a_unit_is_refused(tmp_path):
    file = tmp_path / "m.toml"
    again = '\n[[rate]]\nbehaviour = "MOB-BUS"\nunit = "km"\nfactor = "shenzhen-bus-km"\n'
    file.write_text(FILE.read_text(encoding="utf-8") + again, encoding="utf-8")
    with pytest.raises(DataError, match=r"^m.toml:\d+: second rate for MOB-BUS per km"):
        parse_methodology(file, load_factors())


def test_a_factor_that_needs_an_amount_per_unit_asks_for_it(tmp_path):
    file = tmp_path / "m.toml"
    text = FILE.read_text(encoding="utf-8")
    start = text.index("mg_per_unit = 16")
    file.write_text(text[:start] + text[text.index("[[rate]]", start) :], encoding="utf-8")
    with pytest.raises(DataError, match=r"factor luzhou-walk is no whole number of milligrams per unit"):
        parse_methodology(file, load_factors())


def test_the_overlap_matrix_is_that_of_the_current_policy():
    assert load_overlaps().clearing_policy == load_policy().version
