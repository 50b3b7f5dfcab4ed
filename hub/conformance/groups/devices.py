"""Messages about which the platform is asked: its answers may be late, wrong or missing too. Pure, but for the rig."""

from collections.abc import Callable, Sequence

import httpx

from connectors.base import ConnectorError, Delivery, DeviceLink, Reply
from hub.conformance.cases import CaseList, Group, NotApplicable, is_device, require
from hub.conformance.groups.misdeeds import MISDEEDS, Spoil
from hub.conformance.rig import Rig

CASES: CaseList[Rig] = CaseList(Group.DEVICE, is_device)
_case = CASES.case
_FAULTS: Sequence[str] = (
    "429", "500", "503", "403", "404", "empty", "garbage", "truncated", "html", "null", "array", "object", "deep",
    "redirect", "bomb", "encoding", "cut", "flood",
)  # fmt: skip


@_case("DEV-01", "The sign-in code of a person gives the person's account")
def knows_an_account(rig: Rig) -> None:
    link, code, account = _signed_in(rig)
    require(link.fetch_account(code) == account, "The code of a person gives another account.")


@_case("DEV-02", "A code that was used gives nobody")
def refuses_used_codes(rig: Rig) -> None:
    link, code, _ = _signed_in(rig)
    link.fetch_account(code)
    require(_account(rig, link, code) is None, "A code is good twice: whoever overhears it is the person.")


@_case("DEV-03", "A code that nobody gave out gives nobody")
def refuses_false_codes(rig: Rig) -> None:
    link, code, _ = _signed_in(rig)
    for false in ("", "x", code[:-1], code + "x", "a" * 5000, "\x00", "é", "a b&c=d"):
        require(_account(rig, link, false) is None, "A code that nobody gave out gives an account.")


@_case("DEV-04", "A message with a used code is refused")
def refuses_used_codes_of_messages(rig: Rig) -> None:
    rig.deliver(1)
    taken = rig.messages()[0]
    answer = rig.receive(taken.request, now=taken.at)
    require(not isinstance(answer, Delivery), "A code that was used opens a message a second time.")


@_case("DEV-05", "The platform is asked about the message, and is not sent what it says")
def asks_for_little(rig: Rig) -> None:
    rig.deliver(1)
    taken = rig.messages()[0]
    asked = [one for one in rig.wire.asked if rig.wire.is_spoilt(one.path)]
    require(asked, "The platform was not asked about the message.")
    rows = taken.answer.rows if isinstance(taken.answer, Delivery) else ()
    for one in asked:
        require(not any(row in one.body for row in rows), "A person's rows are sent to the platform.")


def _with_a_sick_platform(spoil: Spoil) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        rig.wire.misbehave(spoil.misdeed)
        rig.deliver(1)
        require(rig.taken, "Nothing was posted.")
        for taken in rig.taken:
            answer = taken.answer
            require(not isinstance(answer, Delivery), "A message is taken although the platform did not vouch for it.")
            require(isinstance(answer, Reply | ConnectorError), "A message is answered with nothing.")
            if isinstance(answer, Reply):
                require(answer.status >= 400, "A message that nobody could check is answered as a success.")
                blamed = spoil.heals and answer.status < 500
                require(not blamed, f"{answer.status} blames the device for an accident of the platform; 5xx is right.")

    return run


for _number, _fault in enumerate(_FAULTS, start=20):
    _case(f"DEV-{_number}", f"The platform that is asked: {MISDEEDS[_fault].title}")(
        _with_a_sick_platform(MISDEEDS[_fault])
    )


def _signed_in(rig: Rig) -> tuple[DeviceLink, str, str]:
    """Return the connector, a fresh code of a person, and the person's account."""
    connector = rig.connector
    if not isinstance(connector, DeviceLink):
        raise NotApplicable("Accounts are not linked by a code of the platform.")
    person = next(one for one in rig.town.people if one.accounts.get(rig.spec.id) == rig.account)
    form = {"username": person.username, "password": person.password}
    with httpx.Client(trust_env=False) as phone:
        answer = phone.post(f"{rig.stage.origin}/phone/login", data=form)
    if answer.status_code != 200:
        raise NotApplicable("The simulator gives out no codes.")
    return connector, answer.json()["code"], rig.account


def _account(rig: Rig, link: DeviceLink, code: str) -> str | None:
    try:
        return link.fetch_account(code)
    except ConnectorError as error:
        rig.inspect_error(error)
        return None
