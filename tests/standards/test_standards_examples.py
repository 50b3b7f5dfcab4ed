"""Worked examples: every figure written down is what explain, quantify, and the published files themselves come to."""

import ast
import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from standards.datafile import DATA, DataError
from standards.documents.catalogue import load_documents
from standards.documents.examples import Example, load_examples, parse_examples, without_example, work_out
from standards.drafts import KINDS, Checked, check_draft
from standards.explain import explain
from standards.methodology import Method, load_methodology, methodology_versions
from standards.published import load_grid_factors
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA, Role

CASES = [(version, number) for version in methodology_versions() for number in range(len(load_examples(version)))]
by_case = pytest.mark.parametrize(("version", "number"), CASES)
# What turns a published unit into the basic ones that milligrams are made of.
SCALES = {"g": Fraction(1000), "kg": Fraction(10**6), "percent": Fraction(1, 100)}


def method_of(version: str, example: Example) -> Method:
    return next(m for m in load_methodology(version).methods.values() if m.id == example.method)


@by_case
def test_the_example_holds_by_explain_and_by_quantify(version: str, number: int) -> None:
    example, methodology = load_examples(version)[number], load_methodology(version)
    explained = explain(example.act, methodology)
    assert explained.reference_mg == example.mg
    assert tuple(used.figure.id for used in explained.used) == example.figures
    # A service day begins at 16:00 UTC of the day before.
    start = datetime.combine(example.act.day, datetime.min.time(), UTC) - timedelta(hours=8)
    row = {
        "record_id": 1, "subject_id": 1, "platform": "any", "role": str(example.act.role),
        "behaviour": example.act.behaviour, "start_at": start, "end_at": start, "precision": "second",
        "quantity_micro": example.act.quantity_micro, "unit": example.act.unit, "event_key": None, "payment_key": None,
        "region": example.act.region, "claimed_mg": None,
    }  # fmt: skip
    last = row | {"start_at": start + timedelta(days=1, microseconds=-1)}
    told = quantify(pl.DataFrame([row, last], schema=RECORD_SCHEMA), methodology)
    assert told["reference_mg"].to_list() == [example.mg, example.mg]


def published_values() -> dict[str, Fraction]:
    """Every figure by id, in basic units, from the CSV files alone."""
    tables = {
        name: list(csv.DictReader(io.StringIO(load_documents()[name].content.decode(), newline="")))
        for name in ("factors.csv", "grid-factors.csv", "reference-values.csv")
    }
    values = {r["factor_id"]: Fraction(r["grams"]) * 1000 / int(r["per"]) for r in tables["factors.csv"]}
    values |= {r["id"]: Fraction(r["kg_per_kwh"]) * 10**6 for r in tables["grid-factors.csv"]}
    for row in tables["reference-values.csv"]:
        values[row["id"]] = Fraction(row["value"]) * SCALES.get(row["unit"].split("/")[0], Fraction(1))
    return values


def calculate(node: ast.expr, values: dict[str, Fraction]) -> Fraction:
    """A second reader of formulas, that has nothing of the engine."""
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=int(whole)):
            return Fraction(whole)
        case ast.Call(func=ast.Name(id=name), args=parts):
            return {"min": min, "max": max}[name](calculate(part, values) for part in parts)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = calculate(left, values), calculate(right, values)
            kind = type(op)
            return a + b if kind is ast.Add else a - b if kind is ast.Sub else a * b if kind is ast.Mult else a / b
    raise AssertionError(ast.dump(node))


@pytest.mark.parametrize("version", methodology_versions())
def test_anybody_can_work_an_example_out_again_from_the_published_files(version: str) -> None:
    values = published_values()
    for example in load_examples(version):
        method = method_of(version, example)
        known = {choice.name: values[name] for choice, name in zip(method.inputs, example.figures, strict=True)}
        quantity = Fraction(1_000_000 if example.act.quantity_micro is None else example.act.quantity_micro, 10**6)
        if method.cap is not None:
            quantity = min(quantity, values[method.cap.id])
        rate = calculate(ast.parse(method.formula.text, mode="eval").body, known | {"quantity": Fraction(1)})
        if method.at_most_mg is not None:
            rate = min(rate, Fraction(method.at_most_mg))
        assert round(max(rate, Fraction(0)) * quantity) == example.mg, example.place


@pytest.mark.parametrize("version", methodology_versions())
def test_every_method_and_every_figure_of_a_place_has_an_example_and_grids_a_handful(version: str) -> None:
    examples, methodology = load_examples(version), load_methodology(version)
    assert without_example(methodology, examples) == []
    for method in methodology.methods.values():
        mine = [e for e in examples if e.method == method.id]
        assert any(e.act.region is None for e in mine), f"{method.id}: no example of an unknown place"
        assert without_example(methodology, [e for e in examples if e.method != method.id])[0] == method.id
        if any("grid-" in figure.id for choice in method.inputs for figure in choice.local):
            shown = {name for e in mine for name in e.figures} & set(load_grid_factors()["id"])
            assert len(shown) >= 3, method.id


def test_the_examples_show_what_is_easily_got_wrong() -> None:
    examples = load_examples("hub-2026.2")
    assert any(e.act.role == Role.SELF_REPORT for e in examples)
    assert any(e.act.quantity_micro is None for e in examples)
    exact = [explain(e.act, load_methodology("hub-2026.2")).exact_mg for e in examples]
    assert len([value for value in exact if value.denominator == 2]) >= 3
    capped = [e for e in examples if method_of("hub-2026.2", e).cap and e.act.quantity_micro == 20_000 * 10**6]
    assert capped


@by_case
def test_an_example_with_another_number_figure_or_day_is_noticed(version: str, number: int) -> None:
    example, methodology = load_examples(version)[number], load_methodology(version)
    assert work_out(example, methodology).reference_mg == example.mg
    with pytest.raises(DataError, match=rf"{example.place}: {example.mg} mg, but {example.mg + 1} are written down"):
        work_out(replace(example, mg=example.mg + 1), methodology)
    with pytest.raises(DataError, match="chooses"):
        work_out(replace(example, figures=(*example.figures, "another")), methodology)
    too_early = replace(example.act, day=datetime(1999, 1, 1).date())
    with pytest.raises(DataError, match=example.place):
        work_out(replace(example, act=too_early), methodology)


def broken(tmp_path: Path, old: str, new: str) -> Path:
    text = (DATA / "examples-hub-2026.2.toml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "draft.toml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('method = "bus-trip"', 'method = "bus-jump"', r"draft.toml:10: method is 'bus-jump', not one of"),
        ('quantity = "1"', 'quantity = "one"', r"draft.toml:10: quantity: not a decimal number"),
        ('role = "operator"', 'role = "bystander"', r"draft.toml:10: role is 'bystander'"),
        ("mg = 80000", "grams = 80", r"draft.toml:10: mg is missing"),
        ("mg = 80000", "mg = 80000\nmilligrams = 1", r"draft.toml:10: unknown members: milligrams"),
        ('version = "hub-2026.2"', 'version = "hub-1999.1"', "no methodology 'hub-1999.1'"),
        ('figures = ["wuhan-bus"]', 'figures = ["luzhou-bus"]', "no example of bus-trip/wuhan-bus"),
        ("[[example]]", "[[exmaple]]", "unknown tables: exmaple"),
    ],
)
def test_a_broken_file_of_examples_is_refused_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_examples(broken(tmp_path, old, new))


# Drafts: every kind of data file is checked by the parser of the file in use.


def data_files() -> Iterator[Path]:
    yield from sorted(DATA.glob("*.toml"))


@pytest.mark.parametrize("file", data_files(), ids=lambda file: file.name)
def test_every_data_file_in_use_passes_as_a_draft(file: Path) -> None:
    checked = check_draft(file)
    assert checked.entries > 0
    assert checked.kind in {kind for kind, _ in KINDS.values()}


def test_every_kind_of_draft_is_the_kind_of_a_file_in_use() -> None:
    assert {check_draft(file).kind for file in data_files()} == {kind for kind, _ in KINDS.values()}


DRAFTS = {
    "methodology-hub-2026.2.toml": (
        'factor = "luzhou-bus"',
        'factor = "lhasa-bus"',
        ": there is no figure 'lhasa-bus'",
    ),
    "factors.toml": ('grams = "250"', 'grams = "-250"', ": grams must be more than zero"),
    "examples-hub-2026.2.toml": ("mg = 80000", "mg = 80001", ": 80000 mg, but 80001 are written down"),
    "sources.toml": ('kind = "republished news, 2023"\n', "", ": kind is missing or empty"),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_a_wrong_draft_is_told_with_file_and_line(tmp_path: Path, name: str) -> None:
    old, new, told = DRAFTS[name]
    text = (DATA / name).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "draft.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        check_draft(tmp_path / "draft.toml")
    # In each of these drafts the first row is the wrong one.
    first = 1 + next(number for number, line in enumerate(text.splitlines()) if line.startswith("[["))
    assert str(caught.value).startswith(f"draft.toml:{first}{told}")


@pytest.mark.parametrize("content", ["", "a = 1\n", "[[nothing]]\nid = 1\n", "[[factor]\n", "\xff"])
def test_what_is_no_data_file_is_told(tmp_path: Path, content: str) -> None:
    file = tmp_path / "draft.toml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"^draft\.toml"):
        check_draft(file)
    with pytest.raises(DataError, match=r"^nowhere\.toml"):
        check_draft(tmp_path / "nowhere.toml")
    assert Checked(kind="factors", entries=1) != Checked(kind="factors", entries=2)
