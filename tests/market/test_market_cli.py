"""`tanlian market`: pool, blocks, show, freeze, pending, retire, release, income, export."""

import csv
import json
from pathlib import Path

from tests_support.marketing import CHARGED, MARKET, TONNE, Market, grams
from tests_support.terminal import Terminal

from hub.audit import audit
from hub.context import Hub


def test_blocks_go_their_way_from_the_terminal(hub: Hub, market: Market, tanlian: Terminal, tmp_path: Path) -> None:
    pooled = tanlian("market", "pool", MARKET)
    assert (pooled.code, pooled.out) == (0, f"2 t of 2026: {MARKET}-2026-000000001 to {MARKET}-2026-000000002\n")
    first, second = [one["block_id"] for one in tanlian("market", "blocks", "--json").json]
    assert "Blocks" in tanlian("market", "blocks", "--state", "held", "--participant", MARKET).out
    shown = tanlian("market", "show", first, "--json").json
    assert (shown["mg"], shown["people"], shown["first_vintage"]) == (TONNE, 3, 20261114)
    assert shown["shares"] == 6
    assert "kd-" not in tanlian("market", "show", first).out
    frozen = tanlian("market", "freeze", first, second, "--purpose", "quota_offset", "--days", "10")
    assert [line.partition(" until ")[0] for line in frozen.out.splitlines()] == [
        f"{MARKET}-2026-000000001 is frozen",
        f"{MARKET}-2026-000000002 is frozen",
    ]
    assert tanlian("market", "release", second, "--json").json[0]["state"] == "held"
    assert tanlian("market", "pending", first, "--reference", "SHEA-1").code == 0
    done = tanlian("market", "retire", first, "--beneficiary", "某钢铁厂", "--json").json
    assert (done[0]["state"], done[0]["beneficiary"], done[0]["reference"]) == ("retired", "某钢铁厂", "SHEA-1")
    told = tanlian(
        "market", "income", first, "--amount-fen", "7901", "--reference", "deal 7", "--csv", tmp_path / "owed.csv"
    )
    assert told.out.splitlines()[0] == "7,901 fen are owed to 3 people"
    with (tmp_path / "owed.csv").open(encoding="utf-8") as file:
        owed = list(csv.DictReader(file))
    assert sum(int(row["fen"]) for row in owed) == 7901
    again = tanlian("market", "income", first, "--amount-fen", "7901", "--reference", "deal 7", "--json").json
    assert (again["is_new"], [row["subject"] for row in again["payouts"]]) == (False, [row["subject"] for row in owed])
    assert tanlian("market", "income", first, "--amount-fen", "7901", "--reference", "deal 7").out.endswith(
        "it was told before, and nothing was changed\n"
    )
    assert grams(hub)["retired"] == TONNE
    assert audit(hub).holds


def test_what_cannot_be_done_is_one_clear_line(market: Market, tanlian: Terminal) -> None:
    assert tanlian("market", "pool", "nobody").complaint == "this participant does not take part now"
    assert tanlian("market", "pool", CHARGED).complaint == (
        f"{CHARGED} has no client with the scope grams:pool; see `clients register`"
    )
    assert tanlian("market", "pool", MARKET, "--client", "c_x").complaint == (
        f"{MARKET} has no such client with the scope grams:pool"
    )
    assert tanlian("market", "show", "b_x").complaint == "there is no such block"
    nothing = tanlian("market", "pool", MARKET, "--year", "2024")
    assert (nothing.code, nothing.out.startswith("nothing was pooled")) == (0, True)
    made = tanlian("market", "pool", MARKET, "--client", market.client_id, "--most", "1", "--json").json["blocks"]
    wrong = tanlian("market", "freeze", made[0]["block_id"], "--purpose", "fun")
    assert wrong.complaint == "purpose: one of compensation, neutrality, quota_offset, voluntary"
    refused = tanlian("market", "retire", made[0]["block_id"], "--beneficiary", "A fair")
    assert refused.complaint == f"block {MARKET}-2026-000000001 is held and cannot become retired"
    assert (
        tanlian("market", "export", "--json", "--format", "csv").complaint
        == "--json and --format csv exclude each other"
    )


def test_an_export_goes_to_the_terminal_or_a_file(market: Market, tanlian: Terminal, tmp_path: Path) -> None:
    assert tanlian("market", "export").json == {"issuances": [], "units": []}
    assert tanlian("market", "export", "--format", "csv").out == ""
    tanlian("market", "pool", MARKET)
    told = tanlian("market", "export").json
    assert [unit["unitCount"] for unit in told["units"]] == [2]
    tanlian("market", "export", "--out", tmp_path / "units.json")
    assert json.loads((tmp_path / "units.json").read_text(encoding="utf-8")) == told
    tanlian("market", "export", "--format", "csv", "--participant", MARKET, "--out", tmp_path / "units.csv")
    with (tmp_path / "units.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {name: "" if value is None else str(value) for name, value in told["units"][0].items()}
    assert tanlian("market", "export", "--participant", "nobody").json == {"issuances": [], "units": []}
