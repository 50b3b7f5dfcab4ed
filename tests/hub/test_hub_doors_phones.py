"""The door of phones: WeRun over the real application, on both databases.

A phone's sealed list is opened with the session key that WeChat gives the hub for the phone's code.
"""

import asyncio
from collections.abc import Iterator

import pytest
from tests_support.deliveries import join
from tests_support.doors import STORES, is_problem
from tests_support.town import document_of, inhabitant, link_inhabitant, served_hub, served_platform
from tests_support.web import Caller, count, look_up

from hub.context import Hub
from hub.sandbox.people import WECHAT
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Tally
from hub.sandbox.platforms.wechat import WeChatSports


class Phones:
    """A town's phones and WeChat on a real port, and a hub on another; only the first inhabitant is linked."""

    def __init__(self, hub: Hub, wechat: WeChatSports, origin: str) -> None:
        self.hub, self.wechat = hub, wechat
        join(hub, document_of(WECHAT, origin=origin))
        link_inhabitant(hub, WECHAT, inhabitant(1))

    @property
    def uploads(self) -> int:
        return len({row.account for row in self.wechat.site.rows(1)})

    @property
    def own_rows(self) -> int:
        return sum(row.person == 1 for row in self.wechat.site.rows(1))

    def send(self, *faults: Fault, times: int = 1000) -> Tally:
        for fault in faults:
            self.wechat.faults.arm(fault, times)
        return asyncio.run(self.wechat.deliver(1))


@pytest.fixture
def phones(hub: Hub) -> Iterator[Phones]:
    with served_hub(hub) as there, served_platform(WeChatSports, WECHAT, there) as (wechat, origin):
        yield Phones(there, wechat, origin)


def test_steps_of_a_linked_phone_are_taken_and_those_of_others_refused_without_a_trace(phones: Phones):
    tally = phones.send()
    assert (tally.taken, tally.refused, tally.failed) == (phones.uploads, 0, 0)
    assert count(phones.hub, "source_record") == {"source_record": phones.own_rows}
    assert phones.own_rows > 5
    aside = look_up(phones.hub, "SELECT DISTINCT reason, payload IS NULL FROM quarantined")
    assert [(reason, bool(empty)) for reason, empty in aside] == [("unknown_account", True)]
    # The same lists again, under new codes and new keys, are the same days.
    before = count(phones.hub, "source_record", "quarantined")
    assert phones.send().taken == phones.uploads
    assert count(phones.hub, "source_record", "quarantined") == before


def test_a_list_that_was_cut_sealed_with_another_key_or_for_another_app_is_refused(phones: Phones):
    before = count(phones.hub, *STORES)
    for fault in (Fault.TAMPERED, Fault.WRONG_SIGNATURE, Fault.WRONG_APPID):
        tally = phones.send(fault, times=phones.uploads)
        assert (tally.refused, tally.taken, tally.failed) == (phones.uploads, 0, 0), fault
        assert phones.wechat.faults.armed() == {}, fault
    assert count(phones.hub, *STORES) == before


def test_a_phone_s_message_is_good_once_and_a_made_up_code_never(phones: Phones):
    code = phones.wechat.issue_code(inhabitant(1).accounts[WECHAT])
    body = {"code": code, "encryptedData": "AAAAAAAAAAAAAAAAAAAAAA==", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="}
    door, before = Caller(phones.hub), count(phones.hub, *STORES)
    assert is_problem(door.post("/in/wechat-sports", json=body), 400, "undecryptable")
    assert is_problem(door.post("/in/wechat-sports", json=body), 401, "code_refused")
    assert is_problem(door.post("/in/wechat-sports", json=body | {"code": "made up"}), 401, "code_refused")
    assert is_problem(door.post("/in/wechat-sports", json={"code": code}), 400, "message_malformed")
    assert count(phones.hub, *STORES) == before


def test_while_wechat_is_away_the_phone_is_told_when_to_come_again(phones: Phones):
    for fault in (Fault.RATE_LIMITED, Fault.SERVER_ERROR):
        phones.wechat.faults.arm(fault)
        body = {"code": "c", "encryptedData": "AA==", "iv": "AA=="}
        answer = Caller(phones.hub).post("/in/wechat-sports", json=body)
        assert is_problem(answer, 503, "wechat_unavailable"), fault
        assert int(answer.headers["retry-after"]) > 0, fault
