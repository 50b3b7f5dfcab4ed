"""A gram's two rights: used together, or apart where the rules allow both, and each of them once."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support.people import LinkedPerson
from tests_support.using import Shop, rows, use

from hub.audit import audit
from hub.context import Hub
from hub.ledger.postings import LOT_SCHEMA
from hub.uses import lots as lots_of
from standards.datafile import DATA, DataError
from standards.uses import Rights, Use, load_use_rules, parse_use_rules

LOTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(20260101, 20260104), st.sampled_from([*Rights]), st.integers(1, 50)),
    max_size=8,
    unique_by=lambda lot: lot[:3],
).map(lambda found: pl.DataFrame([(w, v, r.value, mg) for w, v, r, mg in found], schema=LOT_SCHEMA, orient="row"))


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules allow both rights of a gram to be used."""
    rules = replace(load_use_rules(), both=True)
    monkeypatch.setattr("hub.uses.reservations.load_use_rules", lambda: rules)


def balances(hub: Hub) -> Mapping[tuple[str, str], int]:
    sql = (
        "SELECT a.kind, p.rights, SUM(p.mg) FROM posting p JOIN account a USING (account_id) GROUP BY a.kind, p.rights"
    )
    return {(kind, rights): int(mg) for kind, rights, mg in rows(hub, sql) if mg}


def test_whoever_redeemed_points_has_nothing_to_sell(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    whole = balances(hub)["held", "both"]
    use(shop, token, whole)
    assert shop.reserve(token, 1, use="retire", purpose="voluntary").status_code == 409


def test_each_right_is_used_once_where_both_may_be(
    hub: Hub, li: LinkedPerson, shop: Shop, token: str, apart: None
) -> None:
    other = Shop.opened(hub)
    theirs = other.allowed(li.subject_id)
    whole = balances(hub)["held", "both"]
    use(shop, token, whole)
    held = {place: mg for place, mg in balances(hub).items() if place[0] != "activity"}
    assert held == {("held", "attribute"): whole, ("redeemed", "incentive"): whole}
    assert other.reserve(theirs, 1).status_code == 409
    use(other, theirs, whole, use="retire", purpose="voluntary")
    held = {place: mg for place, mg in balances(hub).items() if place[0] != "activity"}
    assert held == {("retired", "attribute"): whole, ("redeemed", "incentive"): whole}
    assert other.reserve(theirs, 1, use="retire", purpose="voluntary").status_code == 409
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []


def test_what_is_whole_goes_whole_into_a_pool(hub: Hub, li: LinkedPerson, shop: Shop, token: str, apart: None) -> None:
    other = Shop.opened(hub)
    theirs = other.allowed(li.subject_id)
    whole = balances(hub)["held", "both"]
    use(shop, token, 1000)
    assert other.reserve(theirs, whole, use="transfer").status_code == 409
    use(other, theirs, whole - 1000, use="transfer")
    assert balances(hub)["transferred", "both"] == whole - 1000
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []


@given(LOTS, st.integers(0, 200), st.sampled_from([*Rights]))
def test_what_is_taken_is_there_and_what_parts_stays(lots: pl.DataFrame, mg: int, rights: Rights) -> None:
    fitting = lots_of.of_rights(lots, rights)
    taken = lots_of.take(fitting, mg)
    assert taken["mg"].sum() == min(mg, fitting["mg"].sum())
    place = ["window_id", "vintage", "rights"]
    left = lots.join(taken, on=place, how="left", suffix="_taken").with_columns(pl.col("mg_taken").fill_null(0))
    assert (left["mg_taken"] <= left["mg"]).all()
    whole = taken.filter(pl.col("rights") == "both")["mg"].sum()
    assert lots_of.parted(taken, rights)["mg"].sum() == (0 if rights is Rights.BOTH else whole)
    assert lots_of.with_rights(taken, rights)["mg"].sum() == taken["mg"].sum()


@given(LOTS, LOTS)
def test_no_more_is_cut_out_than_is_there_or_allowed(lots: pl.DataFrame, allowed: pl.DataFrame) -> None:
    most = allowed.group_by(lots_of.PLACE).agg(pl.col("mg").sum())
    cut = lots_of.cut_to(lots, most).group_by(lots_of.PLACE).agg(pl.col("mg").sum())
    there = lots.group_by(lots_of.PLACE).agg(pl.col("mg").sum())
    met = there.join(most, on=lots_of.PLACE, suffix="_most").with_columns(mg=pl.min_horizontal("mg", "mg_most"))
    assert cut.sort(lots_of.PLACE).rows() == met.select("window_id", "vintage", "mg").sort(lots_of.PLACE).rows()


def test_the_rules_in_force_take_the_whole_gram() -> None:
    rules = load_use_rules()
    assert {rules.rights_of(one) for one in Use} == {Rights.BOTH}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("usual_s = 900", "usual_s = 9000000", "usual_s is above most_s"),
        ("usual_s = 900", "usual_s = 0", "usual_s is 0, less than 1"),
        ("buffer_permille = 0", "buffer_permille = 501", "nobody gives more than half"),
        ("both = false", 'both = "no"', "both is not true or false"),
        ("both = false", "bothe = false", "unknown members: bothe"),
        ("[[use]]", '[[use]]\nversion = "x"\n[[use]]', "one table"),
    ],
)
def test_rules_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = (DATA / "use-rules.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = tmp_path / "rules.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        parse_use_rules(file)
