"""Files that people bring again: an export that has grown, an old one, somebody else's, an edited one. I/O: a database.

A person brings what they have, in any order, and as often as they like.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from connectors.base import Delivery
from hub.conformance.cases import CaseList, Group, NotApplicable, is_upload, require
from hub.conformance.groups.brought import bring, files, grown
from hub.conformance.groups.living import accounts_of
from hub.conformance.household import Household, repacked
from hub.conformance.observed import brought_by
from hub.conformance.rig import Rig

CASES: CaseList[Rig] = CaseList(Group.UPLOAD, is_upload)
_case = CASES.case
_VERSION = 1  # its place in a standing record: hubs that have read another number of files may count differently
_FIGURE = re.compile(rb"[0-9](?=[^0-9])")


@_case("UPL-50", "An export that overlaps an earlier one brings nothing twice")
def takes_overlaps_once(rig: Rig) -> None:
    deliveries = rig.deliveries()
    _require_overlaps(rig, deliveries)
    last = {delivery.account: delivery for delivery in deliveries}
    with Household(rig, "each") as each, Household(rig, "last", keys=each.keys) as only:
        for home, brought in ((each, deliveries), (only, list(last.values()))):
            home.link_all(accounts_of(rig))
            home.take(brought)
        require(_standing(each) == _standing(only), "Exports that overlap leave other records than the last of them.")


@_case("UPL-51", "An earlier export that is brought after a later one takes nothing back")
def needs_no_order(rig: Rig) -> None:
    if rig.description.correction_mode == "replace":
        raise NotApplicable(
            "It says of itself that what arrives later replaces: an old file brought late is a correction."
        )
    deliveries = rig.deliveries()
    _require_overlaps(rig, deliveries)
    with Household(rig, "told") as told, Household(rig, "late", keys=told.keys) as late:
        for home, brought in ((told, deliveries), (late, deliveries[::-1])):
            home.link_all(accounts_of(rig))
            home.take(brought)
        require(_standing(told) == _standing(late), "An old export that comes late undoes what a later one told.")


@_case("UPL-52", "A file that somebody else brings too takes nothing from whose it is")
def keeps_people_apart(rig: Rig) -> None:
    """Whoever has seen a bill, or knows the number of a payment, can write a file with it."""
    deliveries, (owner, stranger) = rig.deliveries(), _two_people(rig)
    own = [delivery for delivery in deliveries if delivery.account == owner]
    strange = [_brought_by_another(stranger, delivery) for delivery in own]
    with Household(rig, "alone") as alone:
        alone.link_all([owner, stranger])
        alone.take(own)
        expected = _standing(alone)
        require(expected, "Nothing of a person's own file stands.")
        for number, order in enumerate(([*own, *strange], [*strange, *own], strange[-1:] + own)):
            with Household(rig, f"beside-{number}", keys=alone.keys) as home:
                home.link_all([owner, stranger])
                home.take(order)
                left = [row for row in _standing(home) if row[-1] == owner]
                require(left == expected, "Another person's file has changed what stands for whose the payments are.")


@_case("UPL-53", "What is brought credits nobody, however it was edited")
def credits_nobody(rig: Rig) -> None:
    deliveries = rig.deliveries()
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        for taken in files(rig):
            for digit in (b"1", b"7"):
                edited = bring(rig, taken, _FIGURE.sub(digit, taken.request.body))
                home.take([] if edited is None else [brought_by(taken.bringer or "", edited)])
        balances = home.balances()
        require(home.standing(), "Nothing of what was brought stands.")
        require(
            not any(balances.values()), f"{sum(balances.values())} mg are credited for files that anybody can edit."
        )


@_case("UPL-54", "The rows of a file that come in several files are the same records")
def needs_no_whole_file(rig: Rig) -> None:
    """People export by the week, the month or the year."""
    deliveries = [two[1] for two in grown(rig.deliveries())] or rig.deliveries()
    with Household(rig, "whole") as whole, Household(rig, "parts", keys=whole.keys) as parts:
        for home, brought in ((whole, deliveries), (parts, repacked(deliveries, rows=7))):
            home.link_all(accounts_of(rig))
            home.take(brought)
        require(_standing(whole) == _standing(parts), "The same rows in several files leave other records.")


def _require_overlaps(rig: Rig, deliveries: Sequence[Delivery]) -> None:
    if not any(rig.ids(one.rows) & rig.ids(other.rows) for one, other in grown(list(deliveries))):
        raise NotApplicable("Nobody brings the same record twice.")


def _two_people(rig: Rig) -> tuple[str, str]:
    accounts = accounts_of(rig)
    if len(accounts) < 2:
        raise NotApplicable("Only one person brings anything.")
    return accounts[0], accounts[1]


def _brought_by_another(account: str, delivery: Delivery) -> Delivery:
    """The same numbers in a file that was edited: every figure that is told as a word of its own is another one."""
    name = delivery.delivery_id.partition(":")[2]
    rows = tuple(row.replace(b'"none"', b'"full"') for row in delivery.rows)
    raw = replace(delivery, account=None, rows=rows, delivery_id=f"{name}-edited", digest=bytes(32))
    return brought_by(account, raw)


def _standing(home: Household) -> list[tuple[object, ...]]:
    return sorted((*row[:_VERSION], *row[_VERSION + 1 :]) for row in home.standing())
