"""With which right a platform is asked, and what becomes of the right: tokens, credentials, refusals. Pure, but for the rig."""

from collections.abc import Callable, Sequence

from connectors.base import Reauthorise, Scope, Stop
from hub.conformance.cases import CaseList, Group, NotApplicable, is_pull, is_pull_of_links, require
from hub.conformance.groups.misdeeds import MISDEEDS, Spoil
from hub.conformance.groups.reading import healthy, require_nothing_lost
from hub.conformance.inspection import MARK
from hub.conformance.observed import Reading
from hub.conformance.rig import FALSE_TOKEN, Rig
from hub.conformance.wire import Answered, Asked, Misdeed

CASES: CaseList[Rig] = CaseList(Group.PULL, is_pull)
_case = CASES.case
_MOST_TRIES = 4
_FAULTS: Sequence[str] = ("429", "500", "403", "empty", "garbage", "object", "array", "redirect", "cut")


def _unauthorised(asked: Asked, answered: Answered) -> Answered:
    headers = (("www-authenticate", f'Bearer error="invalid_token", error_description="{MARK}"'),)
    return Answered(status=401, headers=headers, body=MARK.encode())


@_case("ASK-01", "A token that the platform refuses is told as that, and shown to it no further")
def tells_a_refused_token(rig: Rig) -> None:
    """Some formats refuse in words of their own: then these are what the connector must understand."""
    healthy(rig)
    refusal = _refusal_of_the_platform(rig) if rig.is_of_links else _unauthorised
    before = rig.wire.data_requests()
    rig.wire.misbehave(refusal)
    reading = rig.read()
    asked = rig.wire.data_requests() - before
    right = Reauthorise if rig.is_of_links else Stop
    require(isinstance(reading.error, right), f"A refusal ends in {_name(reading)}; {right.__name__} is right.")
    require(asked <= _MOST_TRIES, f"It asked {asked} times with a token that is refused.")


@_case("ASK-02", "A token that ends in the middle of a feed loses nothing")
def survives_the_end_of_a_token(rig: Rig) -> None:
    whole = healthy(rig)
    rig.wire.misbehave(_unauthorised, after=1)
    reading = rig.read()
    rig.wire.behave()
    require_nothing_lost(rig, whole, reading.rows, reading.cursor, "when the token ended in the middle")


@_case("ASK-03", "A token of our own that is refused once is renewed once")
def renews_its_own_token(rig: Rig) -> None:
    if rig.description.scope is Scope.LINK:
        raise NotApplicable("The hub renews a link's token, not the connector.")
    whole = healthy(rig)
    if not rig.wire.spared:
        raise NotApplicable("The platform gives out no tokens: the credentials go with each request.")
    rig.wire.misbehave(_unauthorised, times=1)
    reading = rig.read()
    rig.wire.behave()
    require(reading.error is None, f"One refusal ends in {_name(reading)}; a token of our own is renewed once.")
    require_nothing_lost(rig, whole, reading.rows, reading.cursor, "when a token had to be renewed")


@_case("ASK-04", "With a token that nobody gave out nothing is read", applies=is_pull_of_links)
def reads_nothing_with_a_false_token(rig: Rig) -> None:
    rig.deliver()
    reading = rig.read(access=rig.access(token=FALSE_TOKEN))
    require(not reading.rows, "Rows are read with a false token.")
    require(isinstance(reading.error, Reauthorise), f"A false token ends in {_name(reading)}; Reauthorise is right.")


@_case("ASK-05", "A token never stands in an address", applies=is_pull_of_links)
def keeps_tokens_out_of_addresses(rig: Rig) -> None:
    healthy(rig)
    for asked in rig.wire.asked:
        require(rig.access_token not in f"{asked.path}?{asked.query}", "The link's token stands in the address.")


@_case("ASK-06", "No request for records carries the secret of the sign-in")
def asks_for_little(rig: Rig) -> None:
    healthy(rig)
    client_secret = rig.site.secrets["client_secret"]
    if client_secret in rig.document["secrets"].values():
        raise NotApplicable("The platform asks for the same secret in both places.")
    for asked in rig.wire.asked:
        shown = f"{asked.path}?{asked.query}" + repr(dict(asked.headers)) + asked.body.decode("utf-8", "replace")
        require(client_secret not in shown, "The secret of the sign-in is sent with a request for records.")


@_case("ASK-07", "check() notices a platform whose records are open to everybody", applies=is_pull_of_links)
def notices_open_records(rig: Rig) -> None:
    healthy(rig)
    truth: list[Answered] = []

    def listen(asked: Asked, answered: Answered) -> Answered:
        truth.append(answered)
        return answered

    rig.wire.misbehave(listen)
    rig.read(most_pages=1)
    before = rig.wire.data_requests()
    rig.wire.misbehave(lambda asked, answered: truth[-1])
    result = rig.connector.check()
    if rig.wire.data_requests() == before:
        raise NotApplicable("check() asks nobody.")
    require(not result.ok and result.findings, "check() is content with a platform that shows records without a token.")


def _with_a_sick_token_door(spoil: Spoil) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        whole = healthy(rig)
        doors = set(rig.wire.spared)
        if not doors:
            raise NotApplicable("The platform gives out no tokens of its own.")
        rig.wire.spared = {one.path for one in rig.wire.asked} - doors
        rig.wire.misbehave(spoil.misdeed)
        before = len(rig.wire.asked)
        reading = rig.read()
        asked = len(rig.wire.asked) - before
        rig.wire.behave()
        require(not reading.rows, "Rows are read without a token.")
        require(reading.error is not None, "Reading ends without an error although no token was to be had.")
        require(
            not isinstance(reading.error, Reauthorise), "A person is asked to link again for a fault of the platform."
        )
        require(asked <= _MOST_TRIES, f"It asked {asked} times for a token that does not come.")
        require_nothing_lost(rig, whole, [], reading.cursor, "when no token was to be had")

    return run


for _number, _fault in enumerate(_FAULTS, start=20):
    _title = f"The door that gives out tokens: {MISDEEDS[_fault].title}"
    _case(f"ASK-{_number}", _title)(_with_a_sick_token_door(MISDEEDS[_fault]))


def _refusal_of_the_platform(rig: Rig) -> Misdeed:
    """Return what the platform answers to a token that nobody gave out."""
    heard: list[Answered] = []

    def listen(asked: Asked, answered: Answered) -> Answered:
        heard.append(answered)
        return answered

    rig.wire.misbehave(listen)
    rig.read(access=rig.access(token=FALSE_TOKEN))
    refused = heard[-1] if heard else None
    return _unauthorised if refused is None or refused.status == 401 else lambda asked, answered: refused


def _name(reading: Reading) -> str:
    return type(reading.error).__name__ if reading.error is not None else "no error"
