"""The town's platforms clear against each other: what each tells of one act counts once, whoever tells it in what words."""

from collections import Counter
from datetime import timedelta

import polars as pl
import pytest

from hub.clearing.kernel.clear import Cleared, clear
from hub.sandbox.reports import Note, Reports
from hub.sandbox.specs import SPECS
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town
from mappings import load_mapping, translate
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

TOLERATED = 0.005
"""Share of acts: two employers of one person, clocks that are minutes off, transfers without a key."""


@pytest.fixture(scope="module", params=[7, 11])
def cleared(request: pytest.FixtureRequest) -> tuple[Cleared, list[Report]]:
    """Every last, sound version that linked platforms tell of sixty people, cleared at once; and by record what it was."""
    town = Town(request.param, 60)
    reports = Reports(town)
    frames, told = [], []
    for platform, spec in SPECS.items():
        linked = {person.index for person in town.people if platform in person.links}
        for place, feed in enumerate(spec.feeds):
            mapping = load_mapping(f"{platform}.{feed.stream}.v1")
            if mapping.corroborates:
                continue
            last: dict[str, Report] = {}
            for row in reports.told_by(platform, stream=feed.stream if place else ""):
                if row.trouble is None and row.person in linked:
                    last[row.source_id] = max(last.get(row.source_id, row), row, key=lambda version: version.version)
            rows = [row for row in last.values() if row.note is not Note.CANCELLATION]
            if not rows:
                continue
            translated = translate(
                mapping,
                pl.Series([row.body for row in rows]),
                token_key=b"k" * 32,
                now=town.ends_at + timedelta(days=30),
                accounts=pl.Series([row.account for row in rows]),
            )
            who = [rows[row] for row in translated.records["row"]]
            numbered = translated.records.with_columns(
                record_id=pl.Series(range(len(told), len(told) + len(who)), dtype=pl.Int64),
                subject_id=pl.Series([row.person for row in who], dtype=pl.Int64),
                platform=pl.lit(platform),
            )
            frames.append(numbered.select(list(RECORD_SCHEMA)))
            told += who
    return clear(quantify(pl.concat(frames), load_methodology()), None, load_policy()), told


def test_an_act_counts_once_whoever_tells_of_it(cleared: tuple[Cleared, list[Report]]) -> None:
    result, told = cleared
    counted = result.decisions.filter(pl.col("verdict") == "counted")["record_id"]
    acts = Counter((told[record].person, told[record].act_id) for record in counted if told[record].act_id is not None)
    again = sum(count - 1 for count in acts.values())
    assert len(acts) > 3_000
    assert again <= TOLERATED * len(acts), f"{again} of {len(acts)} acts count again"


def test_two_acts_are_not_taken_for_one(cleared: tuple[Cleared, list[Report]]) -> None:
    result, told = cleared
    joined = result.decisions.filter(pl.col("verdict").is_in(["counted", "duplicate"]))
    acts: dict[int, set[int]] = {}
    for record, event in joined.select("record_id", "event_id").iter_rows():
        act = told[record].act_id
        if act is not None:
            acts.setdefault(event, set()).add(act)
    mixed = sum(len(held) > 1 for held in acts.values())
    assert mixed <= TOLERATED * len(acts), f"{mixed} of {len(acts)} events hold several acts"
