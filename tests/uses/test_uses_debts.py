"""What becomes of grams that are taken back after they were reserved or used."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests_support.deliveries import delivery
from tests_support.people import LinkedPerson
from tests_support.using import CITY, DAYS, NOW, Shop, close_window, ride, rows, settle_town, sums, use
from typer.testing import CliRunner

from hub.audit import audit
from hub.cli import app
from hub.context import Hub
from hub.db import writing
from hub.errors import Conflict
from hub.participants import Platform
from hub.pipeline import take_delivery
from hub.uses.debts import Source, repay
from standards.uses import load_use_rules


@pytest.fixture
def town(hub: Hub) -> tuple[Platform, LinkedPerson]:
    return settle_town(hub)


def take_back(hub: Hub, city: Platform, *numbers: int) -> None:
    """The platform withdraws rides; the window in which it does is closed."""
    gone = [ride(f"{number}", day=DAYS[number], ver=2, status="CANCELLED") for number in numbers]
    take_delivery(hub, city, delivery(f"back-{numbers}", *gone), now=NOW)
    close_window(hub)


def owed(hub: Hub) -> int:
    ((mg,),) = rows(
        hub, "SELECT COALESCE(SUM(p.mg), 0) FROM posting p JOIN account a USING (account_id) WHERE a.kind = 'owed'"
    )
    return int(mg)


def require_sound(hub: Hub) -> None:
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []


def test_what_is_held_is_taken_back_from_the_person(hub: Hub, town: Any) -> None:
    city, li = town
    whole = sums(hub, li.subject_id)["held"]
    take_back(hub, city, 0)
    assert sums(hub, li.subject_id)["held"] == whole * 2 // 3
    assert owed(hub) == 0
    require_sound(hub)


def test_what_was_used_is_owed_by_the_platform_that_reported_it(hub: Hub, town: Any) -> None:
    city, li = town
    shop = Shop.opened(hub)
    whole = sums(hub, li.subject_id)["held"]
    use(shop, shop.allowed(li.subject_id), whole)
    take_back(hub, city, 0, 2)
    assert sums(hub, li.subject_id) == {"redeemed": whole}
    assert owed(hub) == -whole * 2 // 3
    debts = rows(hub, "SELECT platform, vintage, mg, left_mg FROM debt ORDER BY vintage")
    assert debts == [(CITY, 20261115, whole // 3, whole // 3), (CITY, 20261117, whole // 3, whole // 3)]
    require_sound(hub)


def test_what_is_partly_used_comes_from_what_is_left_first(hub: Hub, town: Any) -> None:
    city, li = town
    shop = Shop.opened(hub)
    each = sums(hub, li.subject_id)["held"] // 3
    use(shop, shop.allowed(li.subject_id), 1000)
    take_back(hub, city, 0)
    assert sums(hub, li.subject_id) == {"held": 2 * each, "redeemed": 1000}
    assert owed(hub) == -1000
    require_sound(hub)


def test_what_was_reserved_is_owed_until_it_comes_back(hub: Hub, town: Any) -> None:
    city, li = town
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    whole = sums(hub, li.subject_id)["held"]
    reservation = shop.reserve(token, whole).json()["reservation_id"]
    take_back(hub, city, 1)
    assert sums(hub, li.subject_id) == {"reserved": whole}
    assert owed(hub) == -whole // 3
    require_sound(hub)
    shop.write(f"/v1/reservations/{reservation}/void", {}, token)
    assert sums(hub, li.subject_id) == {"held": whole * 2 // 3}
    assert owed(hub) == 0
    assert rows(hub, "SELECT left_mg FROM debt") == [(0,)]
    require_sound(hub)


def test_what_was_reserved_and_used_after_all_stays_owed(hub: Hub, town: Any) -> None:
    city, li = town
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    whole = sums(hub, li.subject_id)["held"]
    reservation = shop.reserve(token, whole).json()["reservation_id"]
    take_back(hub, city, 1)
    half = whole // 2
    shop.write(f"/v1/reservations/{reservation}/commit", {"mg": half}, token)
    # The oldest acts were used first; of the withdrawn one some came back and settles a part.
    each = whole // 3
    assert sums(hub, li.subject_id)["redeemed"] == half
    assert owed(hub) == -(half - each)
    require_sound(hub)


def test_a_platform_pays_what_it_owes_with_grams_of_its_pool(hub: Hub, town: Any) -> None:
    city, li = town
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    each = sums(hub, li.subject_id)["held"] // 3
    use(shop, token, each)
    use(shop, token, each, use="transfer")
    take_back(hub, city, 0)
    with writing(hub.engine) as session, pytest.raises(Conflict, match="between 1 and that"):
        repay(session, CITY, each + 1, Source.POOL, now=NOW)
    with writing(hub.engine) as session, pytest.raises(Conflict, match="the buffer has 0 mg"):
        repay(session, CITY, each, Source.BUFFER, now=NOW)
    with writing(hub.engine) as session:
        assert repay(session, CITY, 1000, Source.POOL, now=NOW).left_mg == each - 1000
    with writing(hub.engine) as session:
        assert repay(session, CITY, each - 1000, Source.POOL, now=NOW).left_mg == 0
    assert owed(hub) == 0
    assert sums(hub, li.subject_id) == {"held": each, "redeemed": each}
    require_sound(hub)


def test_the_buffer_stands_in_for_who_cannot_pay(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = replace(load_use_rules(), buffer_permille=100)
    monkeypatch.setattr("hub.pipeline.load_use_rules", lambda: rules)
    city, li = settle_town(hub)
    shop = Shop.opened(hub)
    held = sums(hub, li.subject_id)["held"]
    buffer = rows(hub, "SELECT mg FROM balance JOIN account USING (account_id) WHERE kind = 'buffer' ORDER BY vintage")
    whole = held + sum(mg for (mg,) in buffer)
    assert [mg for (mg,) in buffer] == [whole // 3 // 10] * 3
    require_sound(hub)
    use(shop, shop.allowed(li.subject_id), held)
    take_back(hub, city, 0)
    assert owed(hub) == -whole // 3
    with writing(hub.engine) as session:
        repay(session, CITY, 5000, Source.BUFFER, now=NOW)
    assert owed(hub) == -whole // 3 + 5000
    require_sound(hub)


def test_the_command_line_lists_and_pays(hub: Hub, town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    city, li = town
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    each = sums(hub, li.subject_id)["held"] // 3
    use(shop, token, each)
    use(shop, token, each, use="transfer")
    take_back(hub, city, 0)
    monkeypatch.setenv("TANLIAN_DATABASE_URL", hub.settings.database_url)
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(hub.settings.keys_dir))

    def told(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert [one["use"] for one in told("reservations", "list")] == ["transfer", "redeem"]
    assert told("reservations", "list", "--state", "voided", "--participant", CITY) == []
    assert told("debts", "list") == [{"platform": CITY, "debts": 1, "mg": each, "left_mg": each}]
    assert told("debts", "pay", CITY, "--mg", "1000") == {"participant": CITY, "paid_mg": 1000, "left_mg": each - 1000}
    assert told("reservations", "expire") == {"expired": 0}
    for words in (("reservations", "list"), ("debts", "list"), ("debts", "pay", CITY, "--mg", "1")):
        shown = CliRunner().invoke(app, list(words))
        assert shown.exit_code == 0, shown.output
        assert CITY in shown.output
    require_sound(hub)
