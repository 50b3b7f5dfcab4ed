"""Who locks several balances locks them in one order: two orders are two transactions that wait for each other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ORDER = "b.account_id, b.window_id, b.vintage, b.rights"


def test_balances_are_locked_in_one_order() -> None:
    locking = {
        path: path.read_text() for path in sorted((ROOT / "hub").rglob("*.py")) if "FOR UPDATE OF b" in path.read_text()
    }
    assert len(locking) >= 3
    for path, source in locking.items():
        orders = re.findall(r"ORDER BY ([^{}\"]*)\{locked\}", source)
        assert orders, path
        assert set(orders) == {ORDER}, path
