"""Which figure holds: the closest place, never one that presumes a witness nobody was, never one that holds no more."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import standards.choice
from standards.behaviours import load_behaviours
from standards.choice import WITNESSED, Figure, Input, format_grams, load_figures, undecided
from standards.datafile import DataError
from standards.factors import load_factors
from standards.measure import parse_measure
from standards.published import load_grid_factors, load_reference_values
from standards.regions import COUNTRY, GRID_AREAS, load_regions, places_of

FIRST = date(2020, 1, 1)
DAYS = st.integers(0, 40).map(lambda days: FIRST + timedelta(days=days))
PLACES = st.sampled_from([420100, 420000, "central", COUNTRY, 510500])
REGIONS = st.sampled_from([420106, 420106, 420500, 510500, None, 999999])
EXAMPLES = settings(max_examples=40, deadline=None)


def _figure(number, **values):
    known = {"value": Fraction(number + 1), "measure": parse_measure("mg/km")[1], "said": f"{number} mg per km"}
    return Figure(**{"id": f"f{number}", **known, "status": "published", "source": "S4", "source_place": "p", **values})


def _decided(drawn):
    """Local figures between which a rule always decides, in any order."""
    found = []
    for number, (place, witnessed, first, length) in enumerate(drawn):
        begin = FIRST + timedelta(days=first) if first else None
        end = (begin or FIRST) + timedelta(days=length) if length else None
        figure = _figure(number, place=place, witnessed=witnessed, valid_from=begin, valid_until=end)
        if undecided([*found, figure]) is None:
            found.append(figure)
    return found


FIGURES = st.lists(st.tuples(PLACES, st.booleans(), st.integers(0, 40), st.integers(0, 20)), max_size=6).map(_decided)


def _input(local):
    return Input(name="saved", fallback=_figure(99), local=tuple(local))


@EXAMPLES
@given(FIGURES, REGIONS, DAYS, st.booleans())
def test_it_is_the_first_of_all_usable_figures_by_place_then_witness_then_day(local, region, day, witnessed):
    places = places_of(region)
    usable = [
        figure
        for figure in local
        if figure.place in places
        and (figure.valid_from is None or figure.valid_from <= day)
        and (figure.valid_until is None or day < figure.valid_until)
        and (witnessed or not figure.witnessed)
    ]
    order = sorted(
        usable, key=lambda f: (places.index(f.place), not f.witnessed, -(f.valid_from or date.min).toordinal())
    )
    chosen = _input(local).choose(places, day, witnessed=witnessed)
    assert chosen.id == (order[0].id if order else "f99")


@EXAMPLES
@given(FIGURES, REGIONS, DAYS, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_in_the_file_does_not_matter(local, region, day, witnessed, dice):
    shuffled = dice.sample(local, len(local))
    places = places_of(region)
    assert _input(local).choose(places, day, witnessed=witnessed) == _input(shuffled).choose(
        places, day, witnessed=witnessed
    )


@EXAMPLES
@given(FIGURES, REGIONS, DAYS)
def test_a_self_report_uses_no_local_figure_that_presumes_a_witness_and_nobody_one_of_elsewhere(local, region, day):
    places = places_of(region)
    unseen, seen = (_input(local).choose(places, day, witnessed=witnessed) for witnessed in (False, True))
    assert not unseen.witnessed
    for chosen in (unseen, seen):
        assert chosen.place in places
        assert chosen.holds_on(day)
    # Nor does a witness make a figure of a farther place win.
    if unseen in local:
        assert places.index(seen.place) <= places.index(unseen.place)


@EXAMPLES
@given(DAYS, st.integers(1, 20), st.integers(0, 60))
def test_a_superseded_figure_is_not_used_from_its_last_day_on(first, length, later):
    until = first + timedelta(days=length)
    old = _figure(1, place=420100, valid_from=first, valid_until=until)
    new = _figure(2, place=420100, valid_from=until)
    choice, places = _input([new, old]), places_of(420106)
    assert choice.choose(places, until - timedelta(days=1), witnessed=True) == old
    assert choice.choose(places, until + timedelta(days=later), witnessed=True) == new
    assert choice.choose(places, first - timedelta(days=1), witnessed=True) == choice.fallback


SEEN_OLD = {"id": "seen-old", "place": 420100, "witnessed": True, "valid_from": FIRST}
OLD = {"id": "old", "place": 420100, "valid_from": FIRST}
NEW = {"id": "new", "place": 420100, "valid_from": FIRST + timedelta(days=9)}
ENDED = {"id": "ended", "place": 420100, "valid_until": FIRST + timedelta(days=10)}
WIDE = {"id": "wide", "place": 420000, "witnessed": True, "valid_from": FIRST + timedelta(days=9)}


@pytest.mark.parametrize(
    ("local", "witnessed", "chosen"),
    [
        ([OLD, NEW], True, "new"),
        ([SEEN_OLD, NEW], True, "seen-old"),
        ([SEEN_OLD, NEW], False, "new"),
        ([SEEN_OLD], False, "f99"),
        ([OLD, WIDE], True, "old"),
        ([WIDE], True, "wide"),
        ([ENDED], True, "f99"),
        ([ENDED, WIDE], True, "wide"),
    ],
)
def test_on_the_tenth_day_in_wuhan_the_figure_is(local, witnessed, chosen):
    choice = _input([_figure(number, **values) for number, values in enumerate(local)])
    assert choice.choose(places_of(420106), FIRST + timedelta(days=10), witnessed=witnessed).id == chosen


@pytest.mark.parametrize(
    ("day", "holds"), [(-1, False), (0, True), (8, True), (9, False)], ids=["before", "first", "last", "after"]
)
def test_a_figure_holds_from_its_first_day_to_the_one_before_its_end(day, holds):
    figure = _figure(1, valid_from=FIRST, valid_until=FIRST + timedelta(days=9))
    assert figure.holds_on(FIRST + timedelta(days=day)) is holds


@pytest.mark.parametrize(
    ("other", "tie"),
    [
        ({}, True),
        ({"place": 420000}, False),
        ({"witnessed": True}, False),
        ({"valid_from": FIRST + timedelta(days=1)}, False),
        ({"valid_from": None}, False),
        ({"valid_until": FIRST + timedelta(days=9)}, True),
        ({"id": "f1"}, False),
    ],
)
def test_two_figures_tie_if_nothing_but_their_value_or_end_tells_them_apart(other, tie):
    known = {"place": 420100, "valid_from": FIRST}
    pair = [_figure(1, **known), _figure(2, **{**known, **other})]
    found = undecided([_figure(3, place=510500), *pair])
    assert found == (tuple(pair) if tie else None)


def test_what_the_person_alone_tells_presumes_no_witness():
    assert "self-check-in" not in WITNESSED
    assert "self-report" not in WITNESSED


def test_every_published_number_is_a_figure_with_its_value_in_basic_units():
    known = load_figures()
    assert len(known) == len(load_factors()) + len(load_grid_factors()) + len(load_reference_values())
    assert (known["luzhou-walk"].value, str(known["luzhou-walk"].measure)) == (Fraction(8200, 500), "mg/steps")
    assert known["luzhou-walk"].said == "8.2 g per 500 steps"
    assert known["grid-CN-2022-average"].value == 536_600
    assert known["beijing-car-km"].value == 271_800
    assert known["ev-consumption-low"].value == Fraction(12, 100)
    assert known["unseen-share"].value == Fraction(1, 2)
    assert (known["luzhou-clothes"].behaviour, known["beijing-car-km"].behaviour) == ("CLO-RECYCLE", None)


def test_every_figure_holds_somewhere_that_exists_and_is_for_a_behaviour_that_exists():
    for figure in load_figures().values():
        assert figure.place in {COUNTRY, *GRID_AREAS, *load_regions()}, figure.id
        assert figure.behaviour is None or figure.behaviour in load_behaviours(), figure.id
        assert figure.value > 0, figure.id


def test_an_id_that_means_two_figures_is_refused(monkeypatch):
    monkeypatch.setattr(standards.choice, "_references", lambda: [_figure(0, id="luzhou-bus", source="S17")])
    with pytest.raises(DataError, match=r"^the id luzhou-bus means two figures, of S17 and N2"):
        load_figures()


@pytest.mark.parametrize(
    ("mg", "grams"),
    [(0, "0"), (1, "0.001"), (45_720, "45.72"), (1_280_000, "1280"), (10**18, "1000000000000000"), (100_000, "100")],
)
def test_milligrams_are_shown_as_grams(mg, grams):
    assert format_grams(mg) == grams
