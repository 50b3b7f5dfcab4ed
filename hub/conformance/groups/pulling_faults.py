"""Platforms that answer badly: what was read stands, the rest is read later, nobody is led in circles. Pure, but for the rig."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from connectors.base import ConnectorError, RetryLater, SetAside
from connectors.net.checked_network import within
from hub.conformance.cases import CaseList, Group, NotApplicable, is_pull, require
from hub.conformance.groups.misdeeds import FLOOD_BYTES, MISDEEDS, Spoil
from hub.conformance.groups.reading import healthy, require_nothing_lost, require_only_rows_of, several_pages
from hub.conformance.observed import Reading
from hub.conformance.rig import Rig
from hub.conformance.wire import MOST_REQUESTS, Answered, Asked
from hub.sandbox.platforms.faults import Fault

CASES: CaseList[Rig] = CaseList(Group.PULL, is_pull)
_case = CASES.case
_MOST_TRIES = 6
"""How often one run may knock at a door that does not open."""

_PATIENCE_S = 0.6
_OFTEN = 10_000
_FAULTS: Sequence[str] = (
    "429", "429-date", "429-absurd", "429-bare", "408", "500", "502", "503", "400", "403", "404", "410", "422", "204",
    "redirect", "redirect-307", "empty", "garbage", "html", "truncated", "doubled", "bytes", "null", "array", "object",
    "text", "deep", "deep-member", "number", "flood", "bomb", "encoding", "gzip", "cut", "401",
)  # fmt: skip


def _survives(spoil: Spoil) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        whole = healthy(rig)
        for after in range(min(len(whole.pages), 2)):
            before = rig.wire.data_requests()
            rig.wire.misbehave(spoil.misdeed, after=after)
            reading = rig.read()
            rig.wire.behave()
            asked = rig.wire.data_requests() - before - after
            when = f"when answer {after + 1} was {spoil.title}"
            require_only_rows_of(whole, reading, when)
            _require_the_right_error(spoil, reading.error, when)
            require(not spoil.heals or asked <= _MOST_TRIES, f"It asked {asked} times in one run {when}.")
            require_nothing_lost(rig, whole, reading.rows, reading.cursor, when)

    return run


def _require_the_right_error(spoil: Spoil, error: ConnectorError | None, when: str) -> None:
    if error is None:
        return  # then nothing may be missing, which is looked at next
    names = " or ".join(one.__name__ for one in spoil.allowed)
    require(isinstance(error, spoil.allowed), f"It raised {type(error).__name__} {when}; {names} is right.")
    if isinstance(error, RetryLater):
        require(1 <= error.after_s <= 86_400, f"It wants to wait {error.after_s} s {when}.")
        told = f"It waits {error.after_s} s {when}; the platform asked for {spoil.at_least_s} or more."
        require(error.after_s >= spoil.at_least_s, told)


for _number, _fault in enumerate(_FAULTS, start=20):
    _title = f"Nothing is lost and the error says what to do next: {MISDEEDS[_fault].title}"
    _case(f"PULL-{_number}", _title)(_survives(MISDEEDS[_fault]))


@_case("PULL-60", "A slow answer is waited for")
def waits_for_a_slow_answer(rig: Rig) -> None:
    whole = healthy(rig)
    rig.wire.misbehave(lambda asked, answered: replace(answered, delay_s=0.3), times=1)
    require(set(rig.read_all().rows) == set(whole.rows), "A slow answer is read as another one.")


@_case("PULL-61", "A platform that never answers holds nobody longer than the deadline of the way out")
def ends_a_silence(rig: Rig) -> None:
    whole = healthy(rig)
    rig.wire.misbehave(lambda asked, answered: replace(answered, hangs=True))
    began = time.monotonic()
    with within(_PATIENCE_S):
        reading = rig.read()
    rig.wire.behave()
    require(time.monotonic() - began < 10 * _PATIENCE_S, "It waits for an answer longer than the deadline allows.")
    require(isinstance(reading.error, RetryLater), "A platform that does not answer is asked again later: RetryLater.")
    require_nothing_lost(rig, whole, reading.rows, reading.cursor, "when the platform did not answer")


@_case("PULL-62", "An answer without end is not read to its end")
def stops_a_flood(rig: Rig) -> None:
    healthy(rig)
    rig.wire.misbehave(MISDEEDS["flood"].misdeed)
    rig.read()
    require(rig.wire.flooded_bytes < FLOOD_BYTES, "An answer of a hundred megabytes is read whole.")


@_case("PULL-63", "A platform that gives the same page again and again is left")
def leaves_a_repeated_page(rig: Rig) -> None:
    whole = healthy(rig)
    kept: list[Answered] = []

    def repeat(asked: Asked, answered: Answered) -> Answered:
        if answered.status == 200 and not kept:
            kept.append(answered)
        return kept[0] if kept else answered

    rig.wire.misbehave(repeat)
    reading = rig.read()
    rig.wire.behave()
    require(len(rig.wire.asked) < MOST_REQUESTS, "It asks for ever for the same page.")
    require_only_rows_of(whole, reading, "when one page came again and again")
    _require_told_or_nothing_lost(rig, whole, reading, "when one page came again and again")


@_case("PULL-64", "The page before, with the cursor that was asked for, does not hold the hub")
def leaves_a_loop(rig: Rig) -> None:
    _survives_the_simulators(rig, Fault.REPEATED_PAGE)


@_case("PULL-65", "A cursor that changes without end does not hold the hub")
def leaves_a_changing_cursor(rig: Rig) -> None:
    _survives_the_simulators(rig, Fault.CHANGING_CURSOR)


@_case("PULL-66", "A page that the platform itself cuts is read again")
def survives_a_cut_page(rig: Rig) -> None:
    _survives_the_simulators(rig, Fault.TRUNCATED_PAGE, times=1)


@_case("PULL-67", "An answer that was signed with another key is not believed")
def refuses_foreign_signatures(rig: Rig) -> None:
    _refuses_spoilt_answers(rig, Fault.WRONG_SIGNATURE)


@_case("PULL-68", "An answer that was changed after it was signed is not believed")
def refuses_tampered_answers(rig: Rig) -> None:
    _refuses_spoilt_answers(rig, Fault.TAMPERED)


@_case("PULL-69", "A fault after the first page leaves the first page standing")
def keeps_what_it_has(rig: Rig) -> None:
    whole = several_pages(healthy(rig))
    before = rig.wire.data_requests()
    rig.read(most_pages=1)
    rig.wire.misbehave(MISDEEDS["500"].misdeed, after=rig.wire.data_requests() - before)
    reading = rig.read()
    rig.wire.behave()
    require(reading.pages, "The first page was told well and is not handed on because a later one failed.")
    require_nothing_lost(rig, whole, reading.rows, reading.cursor, "when a later page failed")


@_case("PULL-70", "A platform that is ill for a moment, again and again, is read whole in the end")
def recovers(rig: Rig) -> None:
    whole = healthy(rig)
    rows: list[bytes] = []
    cursor = None
    for name in ("500", "429", "truncated", "cut", "garbage", "empty"):
        rig.wire.misbehave(MISDEEDS[name].misdeed, after=1, times=1)
        reading = rig.read(cursor)
        rig.wire.behave()
        rows += reading.rows
        cursor = reading.cursor
    require_nothing_lost(rig, whole, rows, cursor, "over several runs that failed")


def _survives_the_simulators(rig: Rig, fault: Fault, *, times: int = _OFTEN) -> None:
    whole = healthy(rig)
    reading = _read_with(rig, fault, times)
    require(len(rig.wire.asked) < MOST_REQUESTS, "It asks for ever.")
    require_only_rows_of(whole, reading, f"when the platform misbehaved ({fault.value})")
    _require_told_or_nothing_lost(rig, whole, reading, f"when the platform misbehaved ({fault.value})")


def _refuses_spoilt_answers(rig: Rig, fault: Fault) -> None:
    whole = healthy(rig)
    reading = _read_with(rig, fault, _OFTEN)
    require(reading.error is not None, f"Answers with a fault ({fault.value}) are taken like any others.")
    require(not reading.rows, f"Rows of an answer with a fault ({fault.value}) are handed on.")
    require_nothing_lost(rig, whole, reading.rows, reading.cursor, "after answers that could not be believed")


def _read_with(rig: Rig, fault: Fault, times: int) -> Reading:
    rig.faults.arm(fault, times)
    reading = rig.read()
    if rig.faults.armed().get(fault) == times:
        raise NotApplicable(f"The simulator cannot misbehave like this ({fault.value}).")
    rig.faults.arm(fault, 0)
    return reading


def _require_told_or_nothing_lost(rig: Rig, whole: Reading, reading: Reading, when: str) -> None:
    """A platform that lies well can hide rows from whoever believes it; where it is noticed, none may be lost."""
    if isinstance(reading.error, SetAside):
        require_nothing_lost(rig, whole, reading.rows, reading.cursor, when)
