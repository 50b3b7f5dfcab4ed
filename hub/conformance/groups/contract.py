"""What a connector says of itself, and whether it is true. Pure, but for the rig."""

import json
from datetime import timedelta
from typing import Any, get_args

from connectors.base import CheckResult, Delivery, Description, Lateness, Scope, Transport
from connectors.registry import KINDS
from hub.conformance.cases import CaseList, Group, NotApplicable, require
from hub.conformance.rig import Rig
from hub.participants import parse_document
from hub.records.reading import read_deliveries
from standards.schema import Role

CASES: CaseList[Rig] = CaseList(Group.CONTRACT)
_case = CASES.case
_LONGEST_REREAD = timedelta(days=400)
_HANDED_ON = ("delivery_id", "stream", "digest", "rows", "unreadable")


@_case("CON-01", "The hub takes the participant document")
def takes_the_document(rig: Rig) -> None:
    document = parse_document(json.dumps(rig.document))
    require(document.stream == rig.feed.stream, "The document's stream became another one.")


@_case("CON-02", "describe() says the same each time and asks nobody")
def describes_constantly(rig: Rig) -> None:
    before = len(rig.wire.asked)
    require(rig.connect().describe() == rig.connector.describe(), "Two instances describe themselves differently.")
    require(len(rig.wire.asked) == before, "describe() asked the platform; it may only say what is known.")


@_case("CON-03", "It is described by the name and title by which it is chosen")
def is_named(rig: Rig) -> None:
    told = rig.description
    require(told.name == rig.feed.connector, f"It is chosen as {rig.feed.connector!r} and calls itself {told.name!r}.")
    require(told.title and told.title == told.title.strip(), "It has no title that a person could read.")


@_case("CON-04", "Its streams are distinct words, and the feed's is one of them")
def has_streams(rig: Rig) -> None:
    streams = rig.description.streams
    require(
        isinstance(streams, tuple) and all(isinstance(one, str) and one for one in streams), "Streams are no words."
    )
    require(len(set(streams)) == len(streams), "It tells a stream twice.")
    require(rig.feed.stream in streams, f"The feed reads {rig.feed.stream!r}, which the connector does not have.")


@_case("CON-05", "The hub's own profiles are not passed off as official")
def is_honest_about_its_origin(rig: Rig) -> None:
    kind = KINDS.get(rig.feed.connector)
    if kind is None:
        raise NotApplicable("The registry does not know this connector.")
    require(
        rig.description.official is not kind.profile, "The registry and describe() disagree on whether it is official."
    )


@_case("CON-06", "Its transport is what the registry says and what it can do")
def has_its_transport(rig: Rig) -> None:
    kind, told = KINDS.get(rig.feed.connector), rig.description
    require(kind is None or kind.transport is told.transport, "The registry and describe() disagree on the transport.")
    if told.transport in (Transport.PULL, Transport.FILE):
        rig.fetcher  # noqa: B018 - raises if there is none
    else:
        rig.receiver  # noqa: B018 - raises if there is none


@_case("CON-07", "Its role is one of the common schema's")
def has_a_role(rig: Rig) -> None:
    require(rig.description.role in {role.value for role in Role}, "Nobody knows its role, so its rank is unknown.")


@_case("CON-08", "How late it may speak is a known class, and how far back it is read is sane")
def is_late_within_reason(rig: Rig) -> None:
    told = rig.description
    require(told.lateness_class in get_args(Lateness), "Nobody knows its class of lateness.")
    require(
        timedelta(0) <= told.overlap <= _LONGEST_REREAD,
        "It is read again from before the longest time that makes sense.",
    )


@_case("CON-09", "Finality, corrections and ids are known words that fit together")
def corrects_as_it_says(rig: Rig) -> None:
    told = rig.description
    hints = Description.__annotations__
    require(told.id_stability in get_args(hints["id_stability"]), "Nobody knows how stable its ids are.")
    require(told.finality in get_args(hints["finality"]), "Nobody knows how final its rows are.")
    require(told.correction_mode in get_args(hints["correction_mode"]), "Nobody knows how it corrects.")
    final = told.finality == "final"
    require(final == (told.correction_mode == "none"), "What is final is not corrected, and what may be revised is.")


@_case("CON-10", "The personal fields that it drops are named once each, and no mapping keeps one")
def names_what_it_drops(rig: Rig) -> None:
    drops = rig.description.drops
    require(all(isinstance(one, str) and one for one in drops), "A dropped field has no name.")
    require(len(set(drops)) == len(drops), "A dropped field is named twice.")
    kept = {".".join(path) for path in rig.mapping.keep} | {path[-1] for path in rig.mapping.keep}
    both = sorted(set(drops) & kept)
    require(not both, f"The mapping keeps what the connector calls personal: {', '.join(both)}.")


@_case("CON-11", "Whose rows one run brings fits transport and mapping")
def has_its_scope(rig: Rig) -> None:
    told = rig.description
    if told.scope is Scope.LINK:
        require(told.transport is Transport.PULL, "Only what is asked for can be asked for with a link's token.")
    require(not (told.corroborates and told.scope is Scope.LINK), "Rows that name nobody cannot be of one link.")


@_case("CON-12", "What it hands on has the contract's types")
def hands_on_the_contracts_types(rig: Rig) -> None:
    found = rig.deliveries()
    require(found, "Nothing came of a month of telling.")
    for delivery in found:
        require(isinstance(delivery, Delivery), "A page holds no Delivery.")
        require(
            0 < len(delivery.delivery_id) <= 200 and delivery.delivery_id.isprintable(), "A delivery's id is no id."
        )
        require(delivery.stream in rig.description.streams, "A delivery is of a stream that was not told.")
        require(isinstance(delivery.digest, bytes) and len(delivery.digest) == 32, "A digest is no SHA-256.")
        require(
            isinstance(delivery.rows, tuple) and all(isinstance(r, bytes) for r in delivery.rows), "A row is no bytes."
        )


@_case("CON-13", "Every row that it hands on is one strict JSON object")
def hands_on_objects(rig: Rig) -> None:
    for row in (row for delivery in rig.deliveries() for row in delivery.rows):
        require(isinstance(_strict(row), dict), "A row is no JSON object, and is not named unreadable either.")


@_case("CON-14", "A row that it cannot read is named with a stable reason and nothing personal")
def names_the_unreadable(rig: Rig) -> None:
    deliveries = rig.deliveries()
    private = rig.private_values() | {row.account for row in rig.told if len(row.account) >= 6}
    for bad in (bad for delivery in deliveries for bad in delivery.unreadable):
        require(
            bad.position >= 0 and bad.reason and bad.reason.isascii() and " " not in bad.reason, "A reason is no code."
        )
        require(
            not any(value in bad.detail for value in private), "The detail of an unreadable row holds personal data."
        )


@_case("CON-15", "check() finds a healthy platform healthy")
def finds_health(rig: Rig) -> None:
    rig.drop_root.mkdir(parents=True, exist_ok=True)
    result = _check(rig)
    require(result.ok, f"check() finds fault with a healthy platform: {', '.join(result.findings)}.")


@_case("CON-16", "check() says what is wrong with an unhealthy platform, without an exception")
def finds_illness(rig: Rig) -> None:
    rig.wire.misbehave(lambda asked, answered: type(answered)(status=500, headers=(), body=b""))
    before = rig.wire.data_requests()
    result = _check(rig)
    if rig.wire.data_requests() == before:
        raise NotApplicable("check() asks nobody: this platform delivers by itself.")
    require(not result.ok and result.findings, "check() is content with a platform that answers nothing but 500.")


@_case("CON-17", "The same telling is handed on in the same bytes by another instance")
def keeps_no_state(rig: Rig) -> None:
    if rig.description.transport in (Transport.PULL, Transport.FILE):
        rig.deliver()
        first, second = rig.read_all(), rig.read_all()
        require(first.rows == second.rows, "Two instances read the same platform differently.")
        return
    rig.wire.remember()
    rig.deliver(1)
    for taken in rig.messages()[:20]:
        other = rig.connect().receive(taken.request, now=taken.at)  # type: ignore[union-attr]
        require(other == taken.answer, "Another instance makes another delivery of the same message.")


@_case("CON-18", "What the mapping stores of a row has none of the fields that the connector drops")
def keeps_no_dropped_field(rig: Rig) -> None:
    names = {name.rpartition(".")[2] for name in rig.description.drops}
    for delivery in rig.deliveries():
        read = read_deliveries([delivery], rig.mapping, token_key=b"conformance-key!" * 2, now=rig.now)
        for payload in [*read.records["payload"], *read.aside["payload"]]:
            found = set(_names(json.loads(payload))) & names if payload is not None else set()
            require(not found, f"A stored payload has the dropped field {', '.join(sorted(found))}.")


def _check(rig: Rig) -> CheckResult:
    try:
        result = rig.connector.check()
    except Exception as error:
        require(False, f"check() raised {type(error).__name__}; what it finds it must return.")
        raise
    require(isinstance(result, CheckResult), "check() returned no CheckResult.")
    rig.inspect_text(repr(result), "a finding")
    return result


def _strict(row: bytes) -> Any:
    try:
        return json.loads(row)
    except ValueError:
        return None


def _names(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(name for inner in value.values() for name in _names(inner))]
    if isinstance(value, list):
        return [name for inner in value for name in _names(inner)]
    return []
