"""Trying out a clearing policy on files: what moves, for whom, why, and as a picture."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests_support.policies import NO_RIDES, draft
from tests_support.terminal import Terminal

from hub.clearing.engines.local import clear_files
from hub.clearing.simulate.moved import LARGEST_SCHEMA, MOVED_SCHEMA, TURNS_SCHEMA, Moved, add_up
from hub.clearing.simulate.moved_svg import MOST_BARS, moved_svg
from hub.clearing.simulate.of_files import Simulation
from standards.policies import find_policy
from standards.policy import CURRENT_POLICY
from standards.schema import arrow_schema

PUBLIC = pa.schema([field.with_nullable(True) for field in arrow_schema()])
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(monkeypatch, capsys, tmp_path)


@pytest.fixture
def rides(kit: Any, tmp_path: Path) -> Path:
    """A ride of two kilometres that two platforms tell, a short one, and a bus."""
    records = [
        kit.record(1, km=2, event_key=71),
        kit.record(2, "payment-b", km=2, event_key=71),
        kit.record(3, km=0.8, minute=60),
        kit.record(4, "navigation-c", behaviour="MOB-BUS", minute=120, subject_id=2),
    ]
    quantity = (pl.col("quantity_micro").cast(pl.Decimal(18, 6)) / 1_000_000).cast(pl.Decimal(18, 6))
    frame = kit.frame(*records).with_columns(quantity=quantity).select(PUBLIC.names)
    folder = tmp_path / "records"
    folder.mkdir()
    pq.write_table(frame.to_arrow().cast(PUBLIC), folder / "a.parquet")
    return folder


def simulated(bare: Terminal, records: Path, to: str | Path, *words: str | Path) -> Any:
    return bare("policy", "simulate", "--to", to, "--records", records, "--json", *words).json


def test_a_draft_is_tried_out_on_files(bare: Terminal, rides: Path, tmp_path: Path):
    file = draft(tmp_path, NO_RIDES)
    told = simulated(bare, rides, file)
    assert (told["what"], told["from"], told["to"]) == ("policy", CURRENT_POLICY, "clearing-2099.1")
    assert told["methodology"] == "hub-2026.2"
    assert (told["records"], told["changed"], told["left_out"]) == (4, 1, 0)
    for side, policy in (("from", CURRENT_POLICY), ("to", str(file))):
        cleared = clear_files(rides, tmp_path / side, policy=find_policy(policy))
        assert told[f"{side}_mg"] == cleared["counted_mg"]
    platforms = {row["platform"]: row for row in told["platforms"]}
    assert platforms["operator-a"]["difference_mg"] == told["difference_mg"] == -67_760
    assert (platforms["payment-b"]["difference_mg"], platforms["navigation-c"]["difference_mg"]) == (0, 0)
    behaviours = {row["behaviour"]: row for row in told["behaviours"]}
    turns = [tuple(turn.values()) for turn in behaviours["MOB-BIKE"]["verdicts"]]
    assert ("counted", "held", 1) in turns
    assert ("counted", "counted", 1) in turns
    (largest,) = told["largest"]
    assert (largest["record_id"], largest["from_verdict"], largest["to_verdict"]) == (1, "counted", "held")
    assert (largest["from_rule"], largest["to_rule"], largest["to_reason"]) == (
        "T2",
        "plausibility",
        "implausible_quantity",
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_tables_say_what_moved_and_why(bare: Terminal, rides: Path, tmp_path: Path):
    shown = bare("policy", "simulate", "--to", draft(tmp_path, NO_RIDES), "--records", rides).out
    for words in ("methodology hub-2026.2: 4 records, 1 count otherwise", "-67.760", "Decided otherwise, by platform",
                  "Decided otherwise, by behaviour", "held: implausible_quantity"):  # fmt: skip
        assert words in shown, words


def test_the_same_policy_moves_nothing_and_a_run_can_be_kept(bare: Terminal, rides: Path, tmp_path: Path):
    told = simulated(bare, rides, CURRENT_POLICY, "--from", CURRENT_POLICY, "--out", tmp_path / "kept")
    assert (told["changed"], told["verdicts_changed"], told["difference_mg"]) == (0, 0, 0)
    assert (told["what"], told["from"], told["to"]) == ("policy", CURRENT_POLICY, CURRENT_POLICY)
    assert json.loads((tmp_path / "kept" / "simulation.json").read_text()) == told


def test_a_wrong_policy_or_two_sources_are_told_in_a_line(bare: Terminal, rides: Path):
    assert (
        "there is no clearing policy 'clearing-1999.1'"
        in bare("policy", "simulate", "--to", "clearing-1999.1", "--records", rides).complaint
    )
    assert (
        "one of --records, --window and --month"
        in bare("policy", "simulate", "--to", CURRENT_POLICY, "--records", rides, "--window", "1").complaint
    )
    missing = bare("policy", "simulate", "--to", "./nowhere.toml", "--records", rides).complaint
    assert missing.startswith("nowhere.toml: ")


# The picture.


def moved(*sums: tuple[str | None, int, int]) -> Simulation:
    groups = pl.DataFrame(
        [(platform, None, "MOB-BIKE", 3, 1, before, after) for platform, before, after in sums],
        MOVED_SCHEMA,
        orient="row",
    )
    nothing = Moved(groups=groups, turns=TURNS_SCHEMA.to_frame(), largest=LARGEST_SCHEMA.to_frame())
    return Simulation(
        what="policy", version="a", other="b", kept="m", moved=add_up([nothing], largest=1)
    )  # fmt: skip


def test_bars_go_to_the_side_of_their_sign_and_are_as_long_as_they_move():
    drawn = moved_svg(moved(("city", 1_000, 3_000), ("bank", 5_000, 4_000), ("phone", 7, 7), (None, 0, 10)))
    root = ElementTree.fromstring(drawn)
    bars = [(int(b.get("x", 0)), int(b.get("width", 0))) for b in root.iter(f"{SVG}rect")][1:]
    assert bars == [(320, 190), (320 - 95, 95), (320, 1)]
    words = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    for told in ("+2.000 g (+200.00 %)", "-1.000 g (-20.00 %)", "+0.000 g (+0.00 %)", "unknown", "12 records"):
        assert told in words, told
    assert "city: +2.000 g (+200.00 %)." in (root.findtext(f"{SVG}desc") or "")
    assert "style" not in drawn
    assert "script" not in drawn


def test_many_platforms_are_cut_and_none_is_a_picture_too():
    many = ElementTree.fromstring(moved_svg(moved(*((f"p-{n:03d}", 0, n) for n in range(1, MOST_BARS + 4)))))
    assert len(list(many.iter(f"{SVG}rect"))) == MOST_BARS + 1
    assert "and 3 platforms that move less" in " ".join(text.text or "" for text in many.iter(f"{SVG}text"))
    assert len(list(ElementTree.fromstring(moved_svg(moved())).iter(f"{SVG}rect"))) == 1


def test_names_are_written_as_text():
    drawn = moved_svg(moved(('<b a="1">&', 0, 5)))
    assert '<b a="1">&:' in (ElementTree.fromstring(drawn).findtext(f"{SVG}desc") or "")


def test_the_command_draws(bare: Terminal, rides: Path, tmp_path: Path):
    chart = tmp_path / "moved.svg"
    simulated(bare, rides, draft(tmp_path, NO_RIDES), "--chart", chart)
    assert "operator-a" in " ".join(t.text or "" for t in ElementTree.fromstring(chart.read_text()).iter(f"{SVG}text"))
