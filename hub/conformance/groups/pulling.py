"""Reading feeds and drops that are well: everything, once, from any place, in bounds. Pure, but for the rig."""

from datetime import timedelta

from connectors.base import Cursor, Page, Reauthorise, RetryLater, Scope, Window
from hub.conformance.cases import CaseList, Group, NotApplicable, is_fetcher, require
from hub.conformance.groups.reading import (
    cursors_of,
    healthy,
    require_nothing_lost,
    require_only_rows_of,
    several_pages,
)
from hub.conformance.observed import again
from hub.conformance.rig import Rig
from hub.sandbox.platforms.faults import Fault

CASES: CaseList[Rig] = CaseList(Group.PULL, is_fetcher)
_case = CASES.case


@_case("PULL-01", "Every record that the platform tells is read")
def reads_everything(rig: Rig) -> None:
    reading = healthy(rig)
    expected = {row.source_id for row in rig.own() if row.trouble is None}
    found = rig.ids(reading.rows)
    require(expected <= found, f"{len(expected - found)} of {len(expected)} records were told and not read.")


@_case("PULL-02", "No record is read that the platform did not tell, or that is another account's")
def reads_nothing_else(rig: Rig) -> None:
    foreign = rig.ids(healthy(rig).rows) - {row.source_id for row in rig.own()}
    require(not foreign, f"{len(foreign)} records were read that are not of this feed or account.")


@_case("PULL-03", "No more rows are handed on than were told")
def reads_once(rig: Rig) -> None:
    reading = healthy(rig)
    rows = len(reading.rows) + sum(len(page.delivery.unreadable) for page in reading.pages)
    told = sum(max(1, len(row.lines)) for row in rig.own())
    require(rows <= told, f"{rows} rows were read of {told} that were told.")


@_case("PULL-04", "From every cursor the rest is read")
def resumes_from_every_cursor(rig: Rig) -> None:
    whole = healthy(rig)
    for place, cursor in enumerate(cursors_of(whole), start=1):
        kept = [row for page in whole.pages[:place] for row in page.delivery.rows]
        require_nothing_lost(rig, whole, kept, cursor, f"after page {place} when reading went on from its cursor")


@_case("PULL-05", "A run that dies after a page loses nothing")
def survives_its_death(rig: Rig) -> None:
    whole = several_pages(healthy(rig))
    for pages in range(1, len(whole.pages)):
        reading = rig.read(most_pages=pages)
        require(len(reading.pages) == pages, "The same platform gives another number of pages.")
        require_nothing_lost(rig, whole, reading.rows, reading.cursor, f"when a run died after page {pages}")


@_case("PULL-06", "A run that dies before its page is stored reads that page again")
def reads_an_unstored_page_again(rig: Rig) -> None:
    whole = healthy(rig)
    places: list[Cursor | None] = [None, *cursors_of(whole)]
    for place, page in enumerate(whole.pages):
        lost = set(page.delivery.rows) - set(rig.read_all(places[place]).rows)
        require(not lost, f"{len(lost)} rows of page {place + 1} do not come again when it was not stored.")


@_case("PULL-07", "A cursor goes through JSON unchanged and is frozen")
def has_plain_cursors(rig: Rig) -> None:
    for page in healthy(rig).pages:
        require(isinstance(page, Page) and isinstance(page.cursor, Cursor), "A page has no Cursor.")
        require(again(page.cursor) == page.cursor, "A cursor is another one after JSON.")
        try:
            page.cursor["x"] = 1
        except TypeError:
            continue
        require(False, "A cursor can be changed after its page was handed on.")


@_case("PULL-08", "A cursor holds no token and no secret")
def has_clean_cursors(rig: Rig) -> None:
    for page in healthy(rig).pages:
        rig.inspect_text(repr(dict(page.cursor)), "a cursor")


@_case("PULL-09", "A second run with nothing new brings nothing new, and a third is no longer")
def rests_when_nothing_is_new(rig: Rig) -> None:
    whole = healthy(rig)
    second = rig.read_all(whole.cursor)
    require_only_rows_of(whole, second, "in a second run")
    third = rig.read_all(second.cursor)
    require(len(third.pages) <= len(second.pages) + 1, "Each run with nothing new is longer than the one before.")
    require(set(third.rows) <= set(second.rows), "Runs with nothing new go back further and further.")


@_case("PULL-10", "What is told later is read later, and nothing is missed between two parts")
def follows_a_growing_feed(rig: Rig) -> None:
    rows = [row for delivery in rig.deliveries() for row in delivery.rows]
    expected = {row.source_id for row in rig.own() if row.trouble is None}
    missed = expected - rig.ids(rows)
    require(not missed, f"{len(missed)} of {len(expected)} records were missed while the feed grew.")


@_case("PULL-11", "A feed that is still empty is read without an error, and begins when it begins")
def waits_for_the_first_row(rig: Rig) -> None:
    rig.drop_root.mkdir(parents=True, exist_ok=True)
    nothing = rig.read()
    waits = nothing.error is None or isinstance(nothing.error, RetryLater)
    require(waits, f"A feed that is still empty ends in {type(nothing.error).__name__}.")
    require(not nothing.rows, "Rows were read before the platform told any.")
    whole = healthy(rig)
    require_nothing_lost(rig, whole, [], nothing.cursor, "after a run in which there was nothing yet")


@_case("PULL-12", "A window bounds what is asked, and never moves the cursor past what it left out")
def respects_a_window(rig: Rig) -> None:
    whole = healthy(rig)
    since = rig.town.starts_at - timedelta(days=2)
    bounded = rig.read_all(window=Window(since=since, until=rig.town.part_ends_at(2)))
    require_only_rows_of(whole, bounded, "in a window")
    require_nothing_lost(rig, whole, bounded.rows, bounded.cursor, "by a run with a window")


@_case("PULL-13", "A window in which nothing lies is read without an error")
def respects_an_empty_window(rig: Rig) -> None:
    healthy(rig)
    start = rig.town.starts_at - timedelta(days=30)
    rig.read_all(window=Window(since=start, until=start + timedelta(days=1)))


@_case("PULL-14", "A window that ends before it begins is read without an error")
def survives_a_window_upside_down(rig: Rig) -> None:
    healthy(rig)
    start = rig.town.starts_at
    rig.read_all(window=Window(since=start, until=start - timedelta(days=5)))


@_case("PULL-15", "Rows that the platform tells twice in one answer are handed on, and none is lost")
def hands_duplicates_on(rig: Rig) -> None:
    whole = healthy(rig)
    other = Rig(rig.stage, rig.spec, rig.feed, rig.folder / "doubled", builder=rig.builder)
    other.faults.arm(Fault.DUPLICATES, 1000)
    other.drop_root.mkdir(parents=True, exist_ok=True)
    other.deliver()
    reading = other.read_all()
    if other.faults.armed().get(Fault.DUPLICATES) == 1000:
        raise NotApplicable("The simulator cannot tell a row twice.")
    told, found = other.ids(whole.rows), other.ids(reading.rows)
    require(told <= found, f"{len(told - found)} records are lost when the platform tells rows twice.")
    require(found <= told, "Rows that are told twice bring new records.")


@_case("PULL-16", "The cursor of another connector does not make rows disappear")
def refuses_foreign_cursors(rig: Rig) -> None:
    whole = healthy(rig)
    names = list(whole.pages[-1].cursor)
    for wrong in (Cursor(somebody="else"), Cursor(dict.fromkeys(names, 7)), Cursor(dict.fromkeys(names, "?"))):
        reading = rig.read(wrong)
        lost = set(whole.rows) - set(reading.rows)
        require(reading.error is not None or not lost, "A cursor that is none makes rows disappear without an error.")


@_case("PULL-17", "Every page of a run is a delivery of its own")
def names_its_pages(rig: Rig) -> None:
    ids = [page.delivery.delivery_id for page in healthy(rig).pages]
    require(len(set(ids)) == len(ids), "Two pages have one delivery id; the second would be taken for a replay.")


@_case("PULL-18", "A page says whose link it came through, and only then")
def says_whose_it_is(rig: Rig) -> None:
    for page in healthy(rig).pages:
        account = page.delivery.account
        if rig.description.scope is Scope.LINK:
            require(account in (None, rig.account), "A page says that it is another account's.")
            known = account == rig.account or not rig.mapping.needs_link
            require(known, "Neither the rows nor the page say whose they are.")
        else:
            require(account is None, "A page of everybody's rows says that it is one account's.")


@_case("PULL-19", "Without the right to read a link nothing is asked")
def needs_access(rig: Rig) -> None:
    if rig.description.scope is not Scope.LINK:
        raise NotApplicable("It reads everybody's rows with credentials of its own.")
    rig.deliver()
    before = len(rig.wire.asked)
    try:
        pages = list(rig.fetcher.fetch(None, None, now=rig.now))
    except Reauthorise:
        require(len(rig.wire.asked) == before, "The platform is asked although there is no token to ask with.")
        return
    require(False, f"{len(pages)} pages are read without anybody's token; Reauthorise is right.")
