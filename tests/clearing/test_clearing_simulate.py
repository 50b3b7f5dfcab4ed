"""Trying out a methodology: what two clearings counted, by group; nothing moves by itself, and nothing is lost."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.clearing.engines.local import clear_files
from hub.clearing.errors import ClearingInputError
from hub.clearing.simulate import of_files as simulating
from hub.clearing.simulate.moved import LARGEST_SCHEMA, MOVED_SCHEMA, Moved, add_up, compare, percent
from hub.clearing.simulate.of_files import Side, Simulation, describe, simulate_change
from hub.commands.simulating import simulate
from hub.errors import UsageProblem
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.schema import arrow_schema

OLD, NEW = "hub-2026.1", "hub-2026.2"
WUHAN, WUHAN_DISTRICT, HUBEI, BEIJING = 420100, 420106, 420000, 110000
AFTER_CHANGE = datetime(2025, 9, 1, 2, tzinfo=UTC)
BEFORE_CHANGE = datetime(2025, 7, 30, 2, tzinfo=UTC)
PUBLIC = pa.schema([field.with_nullable(True) for field in arrow_schema()])
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["bike", "bank", None]),
        st.sampled_from([None, -1, 0, 110105, 110101, WUHAN_DISTRICT, 999_999]),
        st.sampled_from(["MOB-BIKE", "MOB-BUS", "MOB-FLY", None]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.sampled_from(["counted", "held"]),
        st.sampled_from(["counted", "overlapped"]),
    ),
    max_size=30,
)


def write(records: list[dict[str, Any]], kit: Any, path: Path) -> Path:
    """Write records as platforms' files have them."""
    quantity = (pl.col("quantity_micro").cast(pl.Decimal(18, 6)) / 1_000_000).cast(pl.Decimal(18, 6))
    frame = kit.frame(*records).with_columns(quantity=quantity).select(PUBLIC.names)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(frame.to_arrow().cast(PUBLIC), path)
    return path.parent


def run(records: Path, tmp_path: Path, before: str = OLD, after: str = NEW) -> Simulation:
    """Simulate in a folder that is thrown away."""
    work = tmp_path / f"work-{len(list(tmp_path.iterdir()))}"
    work.mkdir()
    sides = (Side(methodology=load_methodology(version), policy=load_policy()) for version in (before, after))
    return simulate_change(records, work, "methodology", before=next(sides), after=next(sides))


def sides(acts: list[tuple[Any, ...]]) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """Records and two clearings of them: (platform, region, behaviour, mg and mg, verdict and verdict)."""
    names = ("platform", "region", "behaviour", "from_mg", "to_mg", "from_verdict", "to_verdict")
    kinds = {name: LARGEST_SCHEMA[name] for name in names}
    frame = pl.DataFrame(acts, schema=kinds, orient="row").with_row_index("record_id").cast({"record_id": pl.Int64})
    before, after = (
        frame.select(
            "record_id", counted_mg=f"{side}_mg", verdict=f"{side}_verdict", rule=pl.lit("T2"), reason=pl.lit("tie")
        ).sample(fraction=1.0, shuffle=True, seed=3)
        for side in ("from", "to")
    )
    return frame.select("record_id", "platform", "region", "behaviour").lazy(), before.lazy(), after.lazy()


def same(one: Moved, other: Moved) -> bool:
    """True if two comparisons say the same."""
    tables = ("groups", "turns", "largest")
    return all(getattr(one, name).equals(getattr(other, name)) for name in tables)


@pytest.fixture
def rides(kit: Any, tmp_path: Path) -> Path:
    """Two kilometres by bike each: in Wuhan after and before the city's new figure, capped by a claim, and elsewhere."""
    records = [
        kit.record(1, km=2, region=WUHAN_DISTRICT, start_at=AFTER_CHANGE),
        kit.record(2, km=2, region=WUHAN_DISTRICT, start_at=BEFORE_CHANGE, subject_id=2),
        kit.record(3, km=2, region=WUHAN, start_at=AFTER_CHANGE, claimed_mg=100_000, subject_id=3),
        kit.record(4, km=2, region=BEIJING, start_at=AFTER_CHANGE, subject_id=4),
        kit.record(5, km=2, start_at=AFTER_CHANGE, subject_id=5),
        kit.record(6, "navigation-b", km=2.02, region=WUHAN, start_at=AFTER_CHANGE),
        kit.record(7, km=2, behaviour="MOB-FLY", start_at=AFTER_CHANGE, subject_id=7),
    ]
    return write(records, kit, tmp_path / "records" / "a.parquet")


# --- the sums ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(ACTS)
def test_the_groups_add_up_to_the_whole_and_no_record_is_lost(acts: list[tuple[Any, ...]]) -> None:
    moved = compare(*sides(acts), largest=5)
    assert moved.groups.schema == MOVED_SCHEMA
    assert moved.total("records") == len(acts) == moved.verdicts["records"].sum()
    assert moved.total("from_mg") == sum(act[3] for act in acts)
    assert moved.total("to_mg") == sum(act[4] for act in acts)
    assert moved.total("changed") == sum(act[3] != act[4] for act in acts)
    for column in ("platform", "region", "behaviour"):
        assert moved.by(column)["to_mg"].sum() == moved.total("to_mg")
    expected = sorted((abs(act[4] - act[3]) for act in acts if act[3] != act[4]), reverse=True)[:5]
    assert (moved.largest["to_mg"] - moved.largest["from_mg"]).abs().to_list() == expected


@settings(max_examples=30, deadline=None)
@given(ACTS, ACTS)
def test_parts_of_the_records_come_to_the_same_as_all_at_once(
    one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]
) -> None:
    records, before, after = sides([*one, *other])
    parts = [
        compare(*(frame.filter(half) for frame in (records, before, after)), largest=4)
        for half in (pl.col("record_id") < len(one), pl.col("record_id") >= len(one))
    ]
    assert same(add_up(parts, largest=4), compare(records, before, after, largest=4))


def test_places_are_provinces_and_what_nobody_knows_is_null() -> None:
    acts = [
        ("bike", 110105, "MOB-BIKE", 10, 20, "counted", "counted"),
        ("bike", 110101, "MOB-BIKE", 5, 5, "counted", "counted"),
        ("bike", 999_999, "MOB-FLY", 0, 0, "rejected", "rejected"),
        (None, None, None, 0, 0, "rejected", "rejected"),
    ]
    assert compare(*sides(acts), largest=1).groups.rows() == [
        (None, None, None, 1, 0, 0, 0),
        ("bike", None, None, 1, 0, 0, 0),
        ("bike", BEIJING, "MOB-BIKE", 2, 1, 15, 25),
    ]


def test_verdicts_that_differ_are_counted() -> None:
    acts = [("bike", None, "MOB-BIKE", 10, 0, "counted", "overlapped")] * 2
    acts += [
        ("bike", None, "MOB-BIKE", 0, 10, "overlapped", "counted"),
        ("bike", None, "MOB-BIKE", 1, 1, *["held"] * 2),
    ]
    moved = compare(*sides(acts), largest=1)
    told = describe(Simulation(what="methodology", version="a", other="b", kept="p", moved=moved))
    assert told["verdicts_changed"] == 3
    assert [tuple(row.values()) for row in told["verdicts"]] == [
        ("counted", "overlapped", 2),
        ("overlapped", "counted", 1),
    ]
    (platform,), (behaviour,) = told["platforms"], told["behaviours"]
    assert platform["verdicts"] == behaviour["verdicts"]
    assert [tuple(row.values()) for row in platform["verdicts"]] == [
        ("counted", "overlapped", 2), ("held", "held", 1), ("overlapped", "counted", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sums", "told"), [((0, 5), None), ((0, 0), None), ((200, 201), 0.5), ((3, 2), -33.33), ((100, 100), 0.0)]
)
def test_a_percentage_needs_something_to_change(sums: tuple[int, int], told: float | None) -> None:
    assert percent(*sums) == told


# --- both versions cleared --------------------------------------------------------------------------------------------


def test_wuhan_bike_kilometres_move_to_the_citys_figure_where_the_claim_allows(rides: Path, tmp_path: Path) -> None:
    simulation = run(rides, tmp_path)
    groups = {tuple(row[:3]): tuple(row[3:]) for row in simulation.moved.groups.rows()}
    before, after = load_methodology(OLD), load_methodology(NEW)
    assert before.methods["MOB-BIKE", "km"].fallback_rate() == after.methods["MOB-BIKE", "km"].fallback_rate() == 33_880
    largest = simulation.moved.largest.select("record_id", "from_mg", "to_mg").rows()
    assert largest[0] == (1, 67_760, 186_600)
    assert (3, 67_760, 100_000) in largest
    assert groups["operator-a", BEIJING, "MOB-BIKE"] == (1, 0, 67_760, 67_760)
    assert groups["operator-a", None, "MOB-BIKE"] == (1, 0, 67_760, 67_760)
    assert groups["operator-a", None, None] == (1, 0, 0, 0)
    assert groups["navigation-b", HUBEI, "MOB-BIKE"] == (1, 0, 0, 0)
    assert groups["operator-a", HUBEI, "MOB-BIKE"][0] == 3


def test_each_side_is_what_clearing_counts_under_that_version(rides: Path, tmp_path: Path) -> None:
    simulation = run(rides, tmp_path)
    for version, column in ((OLD, "from_mg"), (NEW, "to_mg")):
        cleared = clear_files(rides, tmp_path / version, methodology=load_methodology(version))
        assert simulation.moved.total(column) == cleared["counted_mg"]
        decided = pl.read_parquet(tmp_path / version / "decisions" / "*.parquet")
        assert simulation.moved.total("records") == len(decided) == 7


def test_no_change_moves_nothing(rides: Path, tmp_path: Path) -> None:
    told = describe(run(rides, tmp_path, NEW, NEW))
    assert (told["changed"], told["verdicts_changed"], told["difference_mg"], told["percent"]) == (0, 0, 0, 0.0)
    assert told["from_mg"] > 0
    assert (told["largest"], told["verdicts"]) == ([], [])


def test_many_passes_come_to_the_same_as_one(rides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(rides, tmp_path)
    monkeypatch.setattr(simulating, "ROWS_IN_PASS", 2)
    assert same(run(rides, tmp_path).moved, whole.moved)


def test_the_types_of_files_may_differ(rides: Path, tmp_path: Path) -> None:
    whole = run(rides, tmp_path)
    table = pq.read_table(rides / "a.parquet")
    words = table.set_column(2, "platform", table["platform"].dictionary_encode()).slice(0, 4)
    nowhere = table.slice(4, 1).drop_columns(["region"]).append_column("region", pa.nulls(1))
    (rides / "a.parquet").unlink()
    for number, part in enumerate((words, nowhere, table.slice(5))):
        pq.write_table(part, rides / f"{number}.parquet")
    assert same(run(rides, tmp_path).moved, whole.moved)


def test_no_records_give_an_empty_comparison(kit: Any, tmp_path: Path) -> None:
    folder = write([], kit, tmp_path / "records" / "a.parquet")
    told = describe(run(folder, tmp_path))
    assert (told["records"], told["from_mg"], told["percent"], told["platforms"]) == (0, 0, None, [])


# --- the command ------------------------------------------------------------------------------------------------------


def command(records: Path, out: Path | None, *, before: str = OLD, as_json: bool = True) -> None:
    simulate(version=before, other=NEW, records=records, output=out, chart=None, as_json=as_json)


def test_the_command_writes_the_groups_and_prints_the_rest(
    rides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "simulated"
    command(rides, out)
    command(rides, out)
    told = json.loads(capsys.readouterr().out.partition("\n}\n")[0] + "}")
    assert json.loads((out / "simulation.json").read_text()) == told
    groups = pl.read_parquet(out / "moved.parquet")
    assert groups.columns == ["platform", "region", "behaviour", "records", "from_mg", "to_mg"]
    assert (groups["to_mg"] - groups["from_mg"]).sum() == told["difference_mg"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "simulated"]


def test_the_command_shows_grams_by_platform_place_and_behaviour(
    rides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(rides, None, as_json=False)
    shown = capsys.readouterr().out
    told = describe(run(rides, tmp_path))
    sign = f"+{told['difference_mg'] / 1000:.3f} g"
    heads = ("7 records, 3 count otherwise, 0 are decided otherwise", "338.800 g to ", sign, "Largest changes")
    for words in (*heads, "Hubei 湖北", "MOB-BIKE", "unknown", "186.600"):
        assert words in shown, words


def test_a_wrong_file_leaves_nothing_behind(rides: Path, tmp_path: Path) -> None:
    (rides / "text.parquet").write_text("record_id\n1\n")
    with pytest.raises(ClearingInputError, match=r"text\.parquet: not a readable Parquet file"):
        command(rides, tmp_path / "simulated")
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_clearing_run_is_not_replaced_by_a_simulation_nor_the_other_way_round(rides: Path, tmp_path: Path) -> None:
    clear_files(rides, tmp_path / "cleared")
    with pytest.raises(ClearingInputError, match="is not the result of a simulation"):
        command(rides, tmp_path / "cleared")
    command(rides, tmp_path / "simulated")
    with pytest.raises(ClearingInputError, match="is not the result of a clearing run"):
        clear_files(rides, tmp_path / "simulated")
    assert (tmp_path / "cleared" / "manifest.json").exists()


@pytest.mark.parametrize("place", ["", "deep/out"])
def test_a_result_does_not_lie_among_the_records(rides: Path, place: str) -> None:
    with pytest.raises(ClearingInputError, match="lies among the records"):
        command(rides, rides / place)


def test_an_unknown_version_and_a_missing_folder_are_told(rides: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"there is no methodology 'hub-1999'; there are hub-2026\.1"):
        command(rides, None, before="hub-1999")
    with pytest.raises(ClearingInputError, match="is not a folder of records"):
        command(tmp_path / "nowhere", None)
