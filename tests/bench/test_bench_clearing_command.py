"""`tanlian bench clearing`: peers, floors of quality, the line, and the page with its picture."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from docs.markdown_blocks import parse_codes
from docs.test_docs_links import commands_in, fault_of_command, missing_files
from typer.testing import CliRunner

from hub.bench.clearing.corpus import make_corpus, write_corpus
from hub.bench.clearing.measure import KERNEL, Quality, measure_profiles
from hub.bench.clearing.peers import PEERS, Peer, clear_with, components, valid_records
from hub.bench.clearing.profiles import PROFILES
from hub.bench.clearing.report import PAGE, PICTURE, write_report
from hub.cli import app
from hub.commands.bench_clearing import clearing
from hub.errors import UsageProblem

SVG = "{http://www.w3.org/2000/svg}"


@cache
def measured() -> Quality:
    """One small corpus with every peer."""
    with TemporaryDirectory() as folder:
        (quality,) = measure_profiles(Path(folder), ["busy"], records=8_000, seed=3, peers=PEERS.values())
    return quality


# --- floors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [101, 102])
def test_clearing_is_not_worse_than_it_must_be(tmp_path: Path, seed: int) -> None:
    (quality,) = measure_profiles(tmp_path, ["busy"], records=15_000, seed=seed, peers=())
    score = quality.kernel.score
    assert score.pairs.precision >= 0.995
    assert score.pairs.recall >= 0.97
    assert score.double_ppm <= 3_000
    assert score.overlap_accuracy >= 0.98
    assert (score.bad_not_rejected, score.good_rejected, score.implausible_ppm) == (0, 0, 0)


def test_the_kernel_is_better_than_every_peer() -> None:
    f1 = {result.name: result.score.pairs.f1 for result in measured().results}
    assert set(f1) == {KERNEL, *PEERS}
    assert f1[KERNEL] > max(value for name, value in f1.items() if name != KERNEL)
    assert f1["exact-key"] > f1["nothing"] == 0
    assert measured().ratio == pytest.approx(
        (1 - f1[KERNEL]) / (1 - max(v for n, v in f1.items() if n != KERNEL)), abs=1e-4
    )


# --- peers ------------------------------------------------------------------------------------------------------------


def test_records_that_pairs_connect_are_one_event_however_long_the_chain() -> None:
    ids = pl.Series([50, 10, 20, 30, 40, 60, 70])
    chain: Sequence[tuple[int, int]] = [(40, 50), (30, 40), (20, 30), (60, 70)]
    pairs = pl.DataFrame(chain, ["one", "other"], orient="row")
    found = dict(components(ids, pairs).rows())
    assert found == {10: 10, 20: 20, 30: 20, 40: 20, 50: 20, 60: 60, 70: 60}


def test_components_are_found_in_any_order_of_the_pairs() -> None:
    pairs = pl.DataFrame({"one": list(range(1, 200)), "other": list(range(0, 199))})
    for seed in range(3):
        shuffled = pairs.sample(fraction=1, shuffle=True, seed=seed)
        assert set(components(pl.Series(range(200)), shuffled)["event_id"]) == {0}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_decides_every_record_once_and_counts_one_of_an_event(name: str) -> None:
    (made,) = make_corpus(PROFILES["busy"], records=3_000, seed=8)
    decided = clear_with(PEERS[name], made.records)
    assert sorted(decided["record_id"]) == sorted(made.records["record_id"])
    valid = decided.filter(pl.col("verdict") != "rejected")
    assert valid.group_by("event_id").agg((pl.col("verdict") == "counted").sum())["verdict"].unique().to_list() == [1]
    assert decided.filter(pl.col("verdict") == "duplicate")["counted_mg"].sum() == 0
    assert set(decided.filter(verdict="rejected")["record_id"]) == set(
        made.truth.filter(expected="rejected")["record_id"]
    )


def test_a_constant_joins_nobody() -> None:
    (made,) = make_corpus(PROFILES["rough"], records=8_000, seed=8)
    assert made.records.filter(event_key=999_999_999).height > 3
    assert valid_records(made.records).filter(event_key=999_999_999).height == 0


def test_a_peer_that_is_not_installed_is_told_in_words() -> None:
    absent = Peer(name="absent", about="", needs=("no_such_package",), match=lambda records: records)
    (made,) = make_corpus(PROFILES["quiet"], records=1_000, seed=1)
    with pytest.raises(UsageProblem, match=r"no_such_package is not installed.*tanlian\[bench\]"):
        clear_with(absent, made.records)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_one_line_with_both_sides_and_their_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    clearing(records=3_000, seed=5, profile=["quiet", "rough"], peer=["exact-key"], as_json=True)
    told = capsys.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert [line["corpus"] for line in lines] == ["quiet", "rough"]
    for line in lines:
        assert line["bench"] == "clearing"
        assert 0 <= line["ratio"] < 1
        assert line["kernel"]["pairs"]["f1"] > line["peers"]["exact-key"]["pairs"]["f1"]
        assert {"T1", "T2", "T4", "T5", "plausibility", "input"} == set(line["kernel"]["by_tier"])
        assert line["kernel"]["by_behaviour"]["MOB-BIKE"]["true"] > 0
    assert told.err == ""


def test_the_command_scores_a_labelled_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(PROFILES["busy"], records=3_000, seed=5, folder=tmp_path / "mine")
    clearing(labelled=tmp_path / "mine", peer=["none"], as_json=False)
    told = capsys.readouterr()
    line = json.loads(told.out)
    assert (line["corpus"], line["seed"], line["ratio"], line["peers"]) == ("mine", None, None, {})
    assert line["kernel"]["pairs"]["precision"] > 0.9
    for word in ("mine: ", "MOB-BIKE", "plausibility"):
        assert word in told.err


def test_the_command_scores_the_simulated_town(capsys: pytest.CaptureFixture[str]) -> None:
    clearing(town=8, seed=7, peer=["exact-key"], as_json=True)
    line = json.loads(capsys.readouterr().out)
    kernel, exact = line["kernel"], line["peers"]["exact-key"]
    assert (line["corpus"], line["records"]) == ("town", kernel["records"])
    assert line["platforms"] > 15
    assert kernel["pairs"]["true"] > 500
    assert kernel["pairs"]["precision"] >= 0.99
    assert kernel["pairs"]["recall"] >= 0.95
    assert kernel["pairs"]["f1"] > exact["pairs"]["f1"]
    assert kernel["removed_ppm"] == 0
    assert kernel["double_ppm"] < exact["double_ppm"]


@pytest.mark.parametrize(("option", "value"), [("--profile", "paradise"), ("--peer", "oracle")])
def test_an_unknown_profile_or_peer_is_told_with_those_that_are(option: str, value: str) -> None:
    told = CliRunner().invoke(app, ["bench", "clearing", option, value])
    assert isinstance(told.exception, UsageProblem)
    assert f"no {option[2:]} {value}; there are " in str(told.exception)


def test_a_folder_without_truth_is_told(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["bench", "clearing", "--labelled", str(tmp_path), "--peer", "none"])
    assert isinstance(told.exception, UsageProblem)


def test_peers_that_are_absent_are_left_out_unless_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hub.bench.clearing.peers.find_spec", lambda name: None)
    clearing(records=1_000, seed=5, profile=["quiet"], as_json=True)
    told = capsys.readouterr()
    assert set(json.loads(told.out)["peers"]) == {"nothing", "exact-key"}
    assert "the peer splink is left out" in told.err
    with pytest.raises(UsageProblem, match="splink"):
        clearing(records=1_000, profile=["quiet"], peer=["splink"])


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_tells_the_figures_of_the_run_and_names_what_is_there(tmp_path: Path) -> None:
    page, picture = write_report(tmp_path / "docs", [measured()])
    assert (page.name, picture.name) == (PAGE, PICTURE)
    text = page.read_text(encoding="utf-8")
    for result in measured().results:
        assert f"{result.score.pairs.f1:.4f}" in text
    for known in ("MOB-BIKE", "plausibility", "steps", measured().policy, "splink"):
        assert known in text
    assert f"]({PICTURE})" in text
    assert [fault_of_command(words) for words in commands_in(text)] == [None] * len(commands_in(text))
    assert missing_files(text.replace(f"]({PICTURE})", "")) == []
    assert "tanlian bench clearing --report docs" in parse_codes(text)


def test_the_picture_is_well_formed_has_no_script_and_a_bar_for_every_figure(tmp_path: Path) -> None:
    drawn = write_report(tmp_path, [measured(), measured()])[1].read_text(encoding="utf-8")
    root = ElementTree.fromstring(drawn)
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("rx")]
    assert len(bars) == 2 * 3 * len(measured().results)
    assert {element.tag for element in root.iter()} == {
        f"{SVG}{tag}" for tag in ("svg", "title", "desc", "rect", "line", "text")
    }
    assert not any("style" in element.attrib for element in root.iter())
    width = float(root.get("viewBox", "").split()[2])
    assert max(float(bar.get("x", 0)) + float(bar.get("width", 0)) for bar in bars) < width
    described = root.find(f"{SVG}desc")
    assert described is not None
    assert f"Corpus busy, {KERNEL}: F1" in str(described.text)
