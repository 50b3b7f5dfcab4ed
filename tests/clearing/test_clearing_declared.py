"""A person's own document: it confirms what somebody else tells, and counts for nothing by itself."""

from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl

from hub.clearing.engines.intake import load_history
from hub.clearing.kernel.vocabulary import Reason


def paid(kit: Any, number: int, platform: str = "declared-bills", **told: Any) -> Any:
    return kit.record(number, platform, minute=10, lasts=0, payment_key=9, **told)


def test_alone_it_is_held_and_counts_nothing(kit: Any) -> None:
    cleared = kit.clear(paid(kit, 1, km=2))
    assert kit.outcome(cleared) == {1: ("held", "single", "declared_only")}
    assert cleared.decisions["counted_mg"].to_list() == [0]


def test_two_documents_of_one_act_are_still_nobody_else_s_word(kit: Any) -> None:
    cleared = kit.clear(paid(kit, 1, km=2), paid(kit, 2, "declared-card", km=2))
    assert cleared.decisions["counted_mg"].sum() == 0
    assert kit.outcome(cleared)[1] == ("held", "T2", "declared_only")
    assert kit.outcome(cleared)[2][0] == "duplicate"


def test_beside_another_s_word_it_is_a_duplicate_in_whatever_order(kit: Any) -> None:
    records = [
        kit.record(1, km=2, payment_key=9),
        paid(kit, 2),
        kit.record(3, "payment-c", minute=10, lasts=0, payment_key=9),
    ]
    for order in permutations(records):
        outcome = kit.outcome(kit.clear(*order))
        assert outcome[1] == ("counted", "T2", "first_in_role_order")
        assert outcome[2] == ("duplicate", "T2", "same_payment_key")


def test_a_quantity_of_its_own_never_makes_the_act_worth_something(kit: Any) -> None:
    """The operator's record without a distance borrows it from the next in rank; a document lends none."""
    cleared = kit.clear(kit.record(1, payment_key=9), paid(kit, 2, km=2))
    assert kit.outcome(cleared)[1] == ("counted", "T2", "no_quantity")
    assert cleared.events.select("mg", "records").rows() == [(0, 2)]


def test_what_was_held_in_one_window_does_not_stand_in_the_way_of_the_operator_in_the_next(
    kit: Any, tmp_path: Path
) -> None:
    before = kit.clear(paid(kit, 1, km=2))
    (tmp_path / "records").mkdir()
    (tmp_path / "out" / "decisions").mkdir(parents=True)
    before.decisions.write_parquet(tmp_path / "out" / "decisions" / "part.parquet")
    (tmp_path / "out" / "manifest.json").write_text("{}")
    history = load_history(tmp_path)
    assert history.decisions.is_empty()
    assert history.rejected.to_list() == [1]  # it keeps its decision
    assert pl.Series([Reason.DECLARED_ONLY]).to_list() == [34]
