"""Golden cases of what is read with one person's token: card payments, a car's trips, a household's meter."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests_support.golden import at, cleared, kept, only, reasons, reference, verdicts
from tests_support.link_pulls import DAY, TRANSACTION, TRIP, Feed, block, reading

from connectors.formats.espi import parse_espi
from mappings import Translation, event_token

Apply = Callable[..., Translation]
CARD, CAR, METER = "citic-carbon.card_transactions.v1", "toyota-green-drive.trips.v1", "green-button.readings.v1"


def paid(side: str = "debit", status: str = "booked", **change: object) -> dict[str, Any]:
    return {"status": status, "side": side, "transaction": TRANSACTION | change}


def trip(length: int, electric: int | None, **change: object) -> dict[str, Any]:
    hdc = {} if electric is None else {"hdc": {"evDistance": electric}}
    plain = {name: value for name, value in TRIP.items() if name != "hdc"}
    return plain | {"summary": TRIP["summary"] | {"length": length}} | hdc | change  # type: ignore[operator]


def metered(*values: int, **told: Any) -> dict[str, Any]:
    baseline, duration = told.pop("baseline", None), told.pop("duration", None)
    readings = [reading(DAY + 900 * i, value) for i, value in enumerate(values)]
    feed = Feed(blocks=(block(DAY, readings, baseline=baseline, duration=duration),), **told)
    row: dict[str, Any] = json.loads(parse_espi(feed.write())[0][0])
    return row


@pytest.mark.parametrize(("mcc", "behaviour"), [("4111", "MOB-METRO"), ("4131", "MOB-BUS"), ("5552", "MOB-EVCHARGE")])
def test_a_payment_says_where_and_never_how_much(apply: Apply, mcc: str, behaviour: str) -> None:
    record = only(apply(CARD, paid(merchantCategoryCode=mcc)))
    del record["row"]
    assert record == {
        "source_id": "201710020036959", "version": 1, "account": "linked", "cancelled": False, "posted_at": None,
        "role": "payment", "behaviour": behaviour, "start_at": at(2026, 10, 4, 16), "end_at": at(2026, 10, 5, 16),
        "precision": "day", "quantity_micro": None, "unit": None, "event_key": None, "payment_key": None,
        "region": None, "claimed_mg": None,
    }  # fmt: skip


def test_a_terminal_that_tells_the_time_makes_it_an_instant(apply: Apply) -> None:
    record = only(apply(CARD, paid(acceptorTransactionDateTime="2026-10-05T08:31:10+08:00")))
    assert (record["start_at"], record["end_at"]) == (at(2026, 10, 5, 0, 31, 10), at(2026, 10, 5, 0, 31, 10))
    assert record["precision"] == "second"


@pytest.mark.parametrize(
    "mcc", ["4511", "5541", "5542", "5812", "5940", "5931", "4900", "4011", "4112", "0000", "411", "4111 "]
)
def test_other_spending_is_set_aside_and_says_why(apply: Apply, mcc: str) -> None:
    # MCC shows where, never how much carbon was avoided; trains between cities are no behaviour of the list.
    assert reasons(apply(CARD, paid(merchantCategoryCode=mcc))) == ["no_reduction"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (paid(status="pending"), "not_final"),
        (paid(side="zero"), "not_final"),
        (paid(status="pending", merchantCategoryCode="5541"), "no_reduction"),
        (paid(merchantCategoryCode=None), "missing_scene"),
        (paid(side="unknown"), "unknown_status"),
        (paid(cardTransactionId=None), "missing_source_id"),
        (paid(transactionDate=None), "missing_time"),
        (paid(transactionDate="2026-02-30"), "bad_time"),
        (paid(acceptorTransactionDateTime="2026-10-05T08:31:10"), "missing_zone"),
        (paid(transactionDate="2027-10-05"), "time_ahead"),
    ],
)
def test_a_payment_that_is_no_act_yet_or_told_badly_is_set_aside(
    apply: Apply, row: dict[str, Any], reason: str
) -> None:
    assert reasons(apply(CARD, row)) == [reason]


def test_a_booked_payment_follows_a_pending_one_under_the_same_or_another_id(apply: Apply) -> None:
    told = apply(CARD, paid(status="pending"), paid(), paid(status="pending", cardTransactionId="P1"))
    assert reasons(told) == ["not_final", "not_final"]
    assert told.records.select("source_id", "version", "cancelled").rows() == [("201710020036959", 1, False)]


@pytest.mark.parametrize("order", [["debit", "credit"], ["credit", "debit"]])
def test_a_credit_takes_a_payment_back_whichever_is_read_first(apply: Apply, order: list[str]) -> None:
    records = apply(CARD, *(paid(side=side) for side in order)).records
    assert sorted(records.select("version", "cancelled").rows()) == [(1, False), (2, True)]
    assert records["source_id"].n_unique() == 1


def test_a_payment_and_the_ride_it_paid_for_count_once(apply: Apply) -> None:
    ride = apply(
        "alipay-green.behaviours.v1",
        {"distance": 8600, "pay_time": "2026-10-05 08:31:10", "trip_type": "METRO", "open_id": "a"},
    )
    bought = apply(CARD, paid(acceptorTransactionDateTime="2026-10-05T08:31:10+08:00"))
    decided = verdicts(cleared(("alipay-green", ride), ("citic-carbon", bought)))
    assert sorted(verdict for verdict, _, _ in decided.values()) == ["counted", "duplicate"]


def test_nothing_of_the_money_and_the_merchant_is_kept() -> None:
    canary = paid(transactionDetails="canary", cardAcceptorId="canary", terminalId="canary", cardAcceptorPhone="canary")
    payload = kept(CARD, canary)[0]
    for secret in ("canary", "525412", "4.00", "SHENZHEN", "CNY"):
        assert secret not in payload


# pytoyoda's sample of five trips: how far each was, and how far of it on electricity, in metres.
FIVE = [(15215, 13170), (19009, 15856), (56, 56), (31710, 31710), (32401, 32401)]


@pytest.mark.parametrize(("length", "electric"), FIVE, ids=lambda metres: f"pytoyoda-{metres}")
def test_only_the_electric_share_of_a_trip_counts(apply: Apply, key: bytes, length: int, electric: int) -> None:
    record = only(apply(CAR, trip(length, electric)))
    assert (record["behaviour"], record["quantity_micro"], record["unit"]) == ("MOB-EV", electric * 1000, "km")
    assert (record["start_at"], record["end_at"]) == (at(2026, 10, 5, 19, 55, 13), at(2026, 10, 5, 20, 9, 11))
    assert (record["account"], record["role"], record["version"]) == ("linked", "meter", 1)
    assert record["event_key"] == event_token(key, "origin", TRIP["id"])  # type: ignore[arg-type]
    amount, _ = reference("toyota-green-drive", apply(CAR, trip(length, electric)))
    kilometre, _ = reference("toyota-green-drive", apply(CAR, trip(1000, 1000)))
    assert amount is not None
    assert kilometre is not None
    assert abs(amount - kilometre * electric / 1000) <= 1 + electric / 2000  # the kilometre's own half milligram


def test_the_five_trips_are_ninety_three_kilometres_on_electricity(apply: Apply) -> None:
    records = apply(CAR, *(trip(*one, id=f"t{i}") for i, one in enumerate(FIVE))).records
    assert records["quantity_micro"].sum() == 93_193_000


def test_no_electric_metre_is_worth_nothing_and_no_electric_share_is_no_reduction(apply: Apply) -> None:
    assert reference("toyota-green-drive", apply(CAR, trip(12_000, 0)))[0] == 0
    assert reasons(apply(CAR, trip(12_000, None), trip(12_000, 5, hdc=None))) == ["no_reduction", "no_reduction"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "missing_source_id"),
        ({"hdc": {"evDistance": -5}}, "negative_quantity"),
        ({"hdc": {"evDistance": "far"}}, "bad_quantity"),
        ({"summary": TRIP["summary"] | {"startTs": "2026-10-05T19:55:13"}}, "missing_zone"),  # type: ignore[operator]
        ({"summary": TRIP["summary"] | {"endTs": "2026-10-05T19:00:00Z"}}, "end_before_start"),  # type: ignore[operator]
        ({"summary": TRIP["summary"] | {"endTs": "2029-10-05T19:00:00Z"}}, "time_ahead"),  # type: ignore[operator]
        ({"summary": None}, "missing_time"),
    ],
)
def test_a_trip_that_is_told_badly_is_set_aside(apply: Apply, change: dict[str, Any], reason: str) -> None:
    assert reasons(apply(CAR, trip(12_000, 5) | change)) == [reason]


def test_where_and_how_a_person_drove_is_not_kept_and_zero_zero_is_no_place(apply: Apply) -> None:
    place = {"startLat": 22.543096, "startLon": 114.057865, "endLat": 22.6, "endLon": 114.1}
    told = trip(5000, 4000) | {
        "summary": TRIP["summary"] | place, "vin": "JTNB23HK003000001", "scores": {"global": 77}, "route": [{"lat": 22.5}],
        "behaviours": [{"lat": 22.5, "type": "B"}],
    }  # fmt: skip
    payload = kept(CAR, told)[0]
    for secret in ("22.5", "114.0", "JTNB", "scores", "route", "behaviours", "Lat"):
        assert secret not in payload
    nowhere = trip(5000, 4000) | {"summary": TRIP["summary"] | {"startLat": 0.0, "startLon": 0.0}}
    assert apply(CAR, told).records.rows() == apply(CAR, nowhere).records.rows()


def test_what_a_household_used_is_no_saving(apply: Apply) -> None:
    used, fed_in = metered(282, 974), metered(282, 974, flow="19", baseline=9000)
    assert reasons(apply(METER, used, fed_in)) == ["no_reduction", "no_reduction"]


def test_with_a_gap_in_the_readings_nothing_is_saved_yet(apply: Apply) -> None:
    assert reasons(apply(METER, metered(282, 974, baseline=9000, duration=86_400))) == ["not_final"]


def test_a_saving_against_a_settled_baseline_is_kilowatt_hours(apply: Apply) -> None:
    record = only(apply(METER, metered(200, 300, baseline=8500)))
    assert (record["behaviour"], record["quantity_micro"], record["unit"]) == ("HOME-POWERSAVE", 8_000_000, "kWh")
    assert record["source_id"] == f"urn:uuid:b1|{DAY}"
    assert (record["start_at"], record["end_at"]) == (at(2026, 10, 4, 16), at(2026, 10, 4, 16, 30))
    assert (record["account"], record["role"], record["precision"]) == ("linked", "meter", "minute")


def test_eight_kilowatt_hours_are_worth_the_countrys_average_where_no_place_is_told(apply: Apply) -> None:
    # National average of 2023: 530.6 g/kWh (MEE and NBS announcement); ESPI does not say where the meter hangs.
    amount, figure = reference("green-button", apply(METER, metered(200, 300, baseline=8500)))
    assert (amount, figure) == (4_244_800, "grid-CN-2023-average")


@pytest.mark.parametrize(("multiplier", "values"), [("0", (200, 300)), ("-3", (200_000, 300_000)), ("2", (2, 3))])
def test_the_power_of_ten_changes_how_it_is_written_and_not_what_was_saved(
    apply: Apply, multiplier: str, values: tuple[int, int]
) -> None:
    baseline = {"0": 8500, "-3": 8_500_000, "2": 85}[multiplier]
    record = only(apply(METER, metered(*values, baseline=baseline, multiplier=multiplier)))
    assert record["quantity_micro"] == 8_000_000


def test_more_used_than_the_baseline_is_worth_nothing_and_a_correction_has_a_higher_version(apply: Apply) -> None:
    first = metered(9000, 300, baseline=8500)
    later = metered(200, 300, baseline=8500, updated="2026-10-07T00:00:00Z")
    records = apply(METER, first, later).records
    assert records["quantity_micro"].to_list() == [0, 8_000_000]
    assert records["source_id"].n_unique() == 1
    assert records["version"].to_list() == sorted(set(records["version"].to_list()))


def test_rows_of_a_meter_that_are_told_badly_are_set_aside(apply: Apply) -> None:
    row = metered(200, 300, baseline=8500)
    told = apply(
        METER, row | {"updated": "soon"}, row | {"updated": None}, row | {"end": DAY - 1}, row | {"saved_kwh": "-1"}
    )
    assert reasons(told) == ["bad_time", "missing_version", "end_before_start", "negative_quantity"]
