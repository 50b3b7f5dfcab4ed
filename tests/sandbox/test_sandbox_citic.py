"""The cursor-paged records API, over real HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.reports import Report, Reports
from hub.sandbox.town import Town


class Reader:
    """Somebody with a token for one account."""

    def __init__(self, origin: str, platform: CiticCarbon, account: str, *, scope: str = "records:read") -> None:
        self.url = f"{origin}/records"
        self.platform, self.account = platform, account
        now = datetime.now(UTC)
        claims = {"sub": account, "scope": scope, "grant": "g", "jti": "j"}
        sealer = Sealer(platform.site.secrets["seal_key"].encode())
        self.token = sealer.seal("access", claims, now=now, lives=timedelta(minutes=5))
        self.http = httpx.Client(trust_env=False, timeout=60, headers={"authorization": f"Bearer {self.token}"})

    def page(self, cursor: str | None = None, limit: int = 7, headers: dict[str, str] | None = None) -> httpx.Response:
        query: dict[str, str | int] = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        return self.http.get(self.url, params=query, headers=headers)

    def read(self, cursor: str | None = None, limit: int = 7) -> tuple[list[dict[str, Any]], str | None]:
        """Read to the end; returns the rows and the cursor of the last page."""
        rows: list[dict[str, Any]] = []
        for _ in range(200):
            page = self.page(cursor, limit).json()
            rows += page["records"]
            if page["next_cursor"] is None:
                return rows, cursor
            cursor = page["next_cursor"]
        raise AssertionError("the feed does not end")


@pytest.fixture
def platform(make_site: Callable[..., Site]) -> CiticCarbon:
    return CiticCarbon(Front(make_site(CITIC)))


@pytest.fixture
def reader(serve: Callable[..., str], platform: CiticCarbon, town: Town) -> Reader:
    return Reader(serve(platform.app), platform, town.people[0].accounts[CITIC])


def _show(platform: CiticCarbon, part: int) -> None:
    platform.delivered_part = part


def _own(reports: Reports, account: str, upto: int) -> list[dict[str, Any]]:
    rows: list[Report] = [
        row for row in reports.told_by(CITIC, stream="") if row.account == account and row.part <= upto
    ]
    return [json.loads(row.body) for row in rows]


@pytest.mark.parametrize("limit", [1, 7, 100, 100_000])
def test_all_pages_together_are_the_account_and_nothing_else(reader: Reader, reports: Reports, limit: int) -> None:
    _show(reader.platform, 4)
    rows, _ = reader.read(limit=limit)
    assert rows == _own(reports, reader.account, 4)
    assert len(rows) > 10


def test_a_page_is_never_larger_than_a_hundred(reader: Reader, serve: Callable[..., str]) -> None:
    _show(reader.platform, 4)
    busy = max(reader.platform._feeds, key=lambda account: len(reader.platform._feeds[account]))
    other = Reader(reader.url.removesuffix("/records"), reader.platform, busy)
    assert len(other.page(limit=5000).json()["records"]) == min(100, len(reader.platform._feeds[busy]))


def test_rows_of_a_part_show_only_once_it_is_delivered(reader: Reader, reports: Reports) -> None:
    assert reader.page().json() == {"records": [], "next_cursor": None}
    _show(reader.platform, 1)
    assert reader.read()[0] == _own(reports, reader.account, 1)


def test_reading_on_from_the_last_cursor_misses_nothing(reader: Reader, reports: Reports) -> None:
    _show(reader.platform, 2)
    first, cursor = reader.read()
    again, _ = reader.read(cursor)
    assert again == first[-len(again) :]  # the last page may be read again
    _show(reader.platform, 4)
    later, _ = reader.read(cursor)
    ids = [(row["cardTransactionId"], row["version"]) for row in first + later]
    assert set(ids) == {(row["cardTransactionId"], row["version"]) for row in _own(reports, reader.account, 4)}


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer nonsense", "Basic YTpi"])
def test_without_a_good_token_nothing_is_told(reader: Reader, authorization: str) -> None:
    answer = reader.page(headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "records" not in answer.json()


def test_a_token_without_the_scope_reads_nothing(reader: Reader) -> None:
    poor = Reader(reader.url.removesuffix("/records"), reader.platform, reader.account, scope="openid")
    assert poor.page().status_code == 401


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "x"}, {"limit": "-1"}, {"cursor": "!!"}, {"cursor": "YWJj"}]
)
def test_a_request_that_cannot_be_read_is_refused(reader: Reader, query: dict[str, str]) -> None:
    assert reader.http.get(reader.url, params=query).status_code == 400


def test_the_statement_names_pages_by_the_id_that_the_reader_chose(reader: Reader, serve: Callable[..., str]) -> None:
    _show(reader.platform, 1)
    answer = reader.page(headers={"x-request-id": "page-1"})
    assert answer.headers["x-request-id"] == "page-1"
    own = reader.page()
    sums = {one["delivery_id"]: one for one in reader.platform.book.statement(1)["deliveries"]}
    assert set(sums) == {"page-1", own.headers["x-request-id"]}
    claimed = sum(int(row["carbonG"] or 0) * 1000 for row in answer.json()["records"])
    assert (sums["page-1"]["rows"], sums["page-1"]["claimed_mg"]) == (len(answer.json()["records"]), claimed)


def test_rate_limit_and_failure_show_as_often_as_they_are_armed(reader: Reader) -> None:
    reader.platform.faults.arm(Fault.RATE_LIMITED, 2)
    reader.platform.faults.arm(Fault.SERVER_ERROR)
    answers = [reader.page() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 500, 200]
    assert answers[0].headers["retry-after"] == "1"


def test_a_slow_platform_answers_late(reader: Reader) -> None:
    reader.platform.faults.slow_s = 0.6
    reader.platform.faults.arm(Fault.SLOW)
    with pytest.raises(httpx.ReadTimeout):
        reader.http.get(reader.url, timeout=0.2)
    assert reader.page().status_code == 200


def test_a_truncated_page_is_no_json_and_is_not_claimed(reader: Reader) -> None:
    _show(reader.platform, 4)
    reader.platform.faults.arm(Fault.TRUNCATED_PAGE)
    answer = reader.page()
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert reader.platform.book.statement() == {"deliveries": []}


def test_a_repeated_page_leads_back_to_itself(reader: Reader) -> None:
    _show(reader.platform, 4)
    cursor = reader.page().json()["next_cursor"]
    reader.platform.faults.arm(Fault.REPEATED_PAGE)
    stuck = reader.page(cursor).json()
    assert stuck["next_cursor"] == cursor
    assert reader.page(cursor).json()["next_cursor"] != cursor


def test_duplicates_are_rows_told_twice_on_a_page(reader: Reader) -> None:
    _show(reader.platform, 4)
    plain = reader.page().json()["records"]
    reader.platform.faults.arm(Fault.DUPLICATES)
    assert reader.page().json()["records"] == [row for row in plain for _ in range(2)]
