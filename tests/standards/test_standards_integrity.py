"""The data of the standards hold together: every figure has its source, what is only recalled says so, versions stay."""

from hashlib import sha256

import polars as pl
import pytest

from standards.behaviours import accepted_behaviours
from standards.choice import Figure, load_figures
from standards.datafile import DATA
from standards.factors import load_factors, load_sources
from standards.methodology import CURRENT_METHODOLOGY, Method, load_methodology, methodology_versions
from standards.rates import rate_table
from standards.regions import COUNTRY

# Records pin the version that valued them, so a released version is never edited, not even a comment of it. The newest one
# may still change until another follows. When you add a version, add the SHA-256 of the one that was newest until then:
#   sha256sum standards/data/methodology-hub-2026.2.toml
# If this table fails without a new version, undo the edit and write a new version instead.
RELEASED = {"hub-2026.1": "04e03f6de42f5c5aea85b5c778abb3eb2d8ba07a8d31fac12a1416d696af1ab9"}
# Statuses and sources of what nobody could show.
RECALLED = {"unverified", "hub-assumption"}


def _methods() -> list[tuple[str, Method]]:
    return [(v, method) for v in methodology_versions() for method in load_methodology(v).methods.values()]


def _figures_of(method: Method) -> list[Figure]:
    """Every figure that can enter an amount of the method."""
    return [figure for choice in method.inputs for figure in choice.figures] + ([method.cap] if method.cap else [])


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_released_methodology_is_never_edited():
    *released, newest = methodology_versions()
    assert newest == CURRENT_METHODOLOGY
    assert set(RELEASED) == set(released)
    for version, digest in RELEASED.items():
        content = (DATA / f"methodology-{version}.toml").read_bytes()
        assert _digest(content) == digest, f"{version} was edited"
        assert _digest(content.replace(b"0", b"1", 1)) != digest


def test_each_version_follows_the_one_before():
    versions = [load_methodology(version) for version in methodology_versions()]
    assert [known.supersedes for known in versions] == [None, *(known.version for known in versions[:-1])]
    assert [known.valid_from for known in versions] == sorted({known.valid_from for known in versions})
    for known in versions:
        assert known.acts_from <= known.valid_from


@pytest.mark.parametrize("version", methodology_versions())
def test_every_figure_of_a_methodology_has_a_source(version):
    for method in load_methodology(version).methods.values():
        for figure in _figures_of(method):
            assert figure.source in load_sources(), (method.id, figure.id)
            assert figure.source_place.strip(), (method.id, figure.id)


def test_what_is_only_recalled_makes_its_method_a_hub_assumption():
    seen = set()
    for version, method in _methods():
        recalled = [f.id for f in _figures_of(method) if f.status in RECALLED or f.source == "U"]
        seen |= {method.status} if recalled else set()
        assert not recalled or method.status == "hub-assumption", (version, method.id, recalled)
    assert seen == {"hub-assumption"}


def test_a_recalled_figure_is_unverified_and_without_a_day():
    for figure in load_figures().values():
        assert (figure.source == "U") == (figure.status == "unverified"), figure.id
        if figure.source == "U":
            assert figure.valid_from is None, figure.id


def test_every_published_figure_of_an_accepted_behaviour_is_used_or_said_not_to_be():
    methods = load_methodology().methods.values()
    used = {figure.id for method in methods for figure in _figures_of(method)}
    left = {not_taken.factor for method in methods for not_taken in method.not_taken}
    factors = load_factors().filter(
        (pl.col("status") != "hub-assumption") & pl.col("behaviour").is_in(list(accepted_behaviours()))
    )
    assert set(factors["factor_id"]) - used == left
    assert not used & left


def test_a_figure_not_taken_is_one_of_the_methods_own_behaviour():
    figures = load_figures()
    for version, method in _methods():
        for left in method.not_taken:
            assert figures[left.factor].behaviour == method.behaviour, (version, method.id, left.factor)
            assert len(left.why) > 10, (version, method.id, left.factor)


def test_local_figures_are_of_public_schemes_and_of_their_own_place():
    issuers = dict(load_factors().select("factor_id", "issuer").iter_rows())
    schemes = {
        "beijing-green-life", "beijing-handbook", "shanxi-green-life", "wuhan-carbon", "hubei-carbon",
        "shenzhen-household-electricity",
    }  # fmt: skip
    for version, method in _methods():
        for choice in method.inputs:
            for figure in choice.local:
                if figure.id.startswith("grid-"):
                    assert figure.valid_from is not None, figure.id
                    continue
                assert issuers[figure.id] in schemes, (version, method.id, figure.id)
                assert figure.place != COUNTRY, (version, method.id, figure.id)


def test_every_local_figure_is_reached_by_some_act():
    for version in methodology_versions():
        methodology = load_methodology(version)
        reached = {
            (rate.method.id, name, figure.id)
            for rate in rate_table(methodology).rates
            for name, figure in rate.figures.items()
        }
        for method in methodology.methods.values():
            for choice in method.inputs:
                for figure in choice.local:
                    assert (method.id, choice.name, figure.id) in reached, (version, method.id, figure.id)


def test_what_a_record_keeps_tells_the_rate_of_its_behaviour_and_unit():
    for version in methodology_versions():
        table = rate_table(load_methodology(version))
        told = {}
        for rate in table.rates:
            key = rate.method.behaviour, rate.method.unit, rate.pin
            assert told.setdefault(key, (rate.whole, rate.millionths)) == (rate.whole, rate.millionths), (version, key)


def test_no_method_has_the_id_of_a_figure():
    # A record keeps one or the other.
    assert not {method.id for _, method in _methods()} & load_figures().keys()
