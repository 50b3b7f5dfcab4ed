"""Others are told of changes: once each, signed, in the change's own transaction, until they take it. On both databases."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from sqlalchemy.orm import Session
from standardwebhooks import Webhook as Verifier
from tests_support.deliveries import BEIJING, join
from tests_support.people import link_person
from tests_support.tokens import metadata
from tests_support.web import count, free_port, look_up, served

from consent.clients import register_client
from consent.grants import activate_grant, pause_grant, request_grant, resume_grant
from consent.pairwise import pairwise_subject
from consent.people import add_person
from consent.terms import GrantTerms, Purpose, Sensitive
from consent.webhook_secrets import webhook_secret
from consent.withdraw import expire_due, withdraw_grant
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.sync.webhooks import PAUSES, deliver_webhooks
from hub.worker import Worker

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"


class Receiver:
    """A platform's own server, which answers as it is told to."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/hook"
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.app = FastAPI()

        @self.app.post("/hook")
        async def hook(request: Request) -> Response:
            self.got.append((dict(request.headers), await request.body()))
            return Response(status_code=self.answers.pop(0) if self.answers else 204)

    def messages(self, secret: str) -> list[dict[str, Any]]:
        """What came, each verified as a receiver would."""
        told = []
        for headers, body in self.got:
            verifier = Verifier(secret)
            # The hub's clock stands still in these tests; the receiver's library looks at its own.
            signed = verifier.sign(headers["webhook-id"], signed_at(headers), body.decode())
            assert signed == headers["webhook-signature"]
            told.append(json.loads(body))
        return told


def signed_at(headers: dict[str, str]) -> datetime:
    return datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with free_port() as (bound, url):
        place = Receiver(url)
        with served(place.app, bound):
            yield place


@pytest.fixture
def open_hub(hub: Hub) -> Hub:
    """A hub that may call this machine."""
    return replace(hub, settings=hub.settings.model_copy(update={"allow_loopback": True}))


def recipient(hub: Hub, **more: str) -> str:
    with writing(hub.engine) as session:
        client: str = register_client(session, {**metadata(), **more}, participant=None, now=NOW)["client_id"]
    return client


def give(hub: Hub, client_id: str, name: str = "li", *, days: int = 300) -> tuple[int, str]:
    """A person allows the client to read; returns subject and grant."""
    with writing(hub.engine) as session:
        person = add_person(session, hub.ring, username=name, password=None, display_name=name, now=NOW)
        subject_id = person.subject_id
        terms = GrantTerms(
            recipient=client_id, client_id=client_id, purposes=frozenset({Purpose.DISCLOSE}), scope="account:read",
            behaviours=frozenset({"MOB-BIKE"}), platforms=frozenset({CITY}), sensitive=frozenset(Sensitive),
            valid_from=NOW - timedelta(days=30), valid_until=NOW + timedelta(days=days), notice_version="n",
            language="en",
        )  # fmt: skip
        grant, asked = request_grant(session, subject_id=subject_id, terms=terms, now=NOW)
        _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=NOW)
        for change in (asked, given):
            log_consent_change(session, change, NOW, hub=hub)
    return subject_id, grant.grant_id


def withdraw(hub: Hub, subject_id: int, grant_id: str) -> None:
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=grant_id, subject_id=subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)


def later(hub: Hub, passed: timedelta) -> Hub:
    return replace(hub, clock=lambda: NOW + passed)


def test_a_recipient_is_told_that_the_consent_was_withdrawn_and_knows_the_person_by_its_own_name_only(
    open_hub: Hub, receiver: Receiver
):
    client = recipient(open_hub, webhook_uri=receiver.url)
    subject_id, grant_id = give(open_hub, client)
    assert count(open_hub, "webhook") == {"webhook": 0}  # a consent given is told by the token
    withdraw(open_hub, subject_id, grant_id)
    assert deliver_webhooks(open_hub)
    (message,) = receiver.messages(webhook_secret(open_hub.ring, f"client:{client}"))
    assert message["type"] == "consent.withdrawn"
    assert message["data"] == {
        "grant_id": grant_id, "version": 3, "state": "revoked",
        "subject": pairwise_subject(open_hub.ring, client, subject_id),
    }  # fmt: skip
    assert str(subject_id) not in json.dumps(message)
    assert not deliver_webhooks(open_hub)
    assert len(receiver.got) == 1


def test_a_pause_its_end_and_an_expiry_are_told_too(open_hub: Hub, receiver: Receiver):
    client = recipient(open_hub, webhook_uri=receiver.url)
    subject_id, grant_id = give(open_hub, client)
    ids = {"grant_id": grant_id, "subject_id": subject_id}
    for step in (pause_grant, resume_grant):
        with writing(open_hub.engine) as session:
            log_consent_change(session, step(session, **ids, now=NOW)[1], NOW, hub=open_hub)
    after = NOW + timedelta(days=301)
    with writing(open_hub.engine) as session:
        for change in expire_due(session, now=after):
            log_consent_change(session, change, after, hub=open_hub)
    hub = replace(open_hub, clock=lambda: after)
    assert deliver_webhooks(hub)
    told = receiver.messages(webhook_secret(hub.ring, f"client:{client}"))
    assert [one["type"] for one in told] == ["consent.paused", "consent.changed", "consent.expired"]


def test_a_platform_is_told_which_of_its_accounts_is_no_longer_linked(open_hub: Hub, receiver: Receiver):
    join(open_hub, BEIJING | {"webhook_url": receiver.url, "allow_loopback": True})
    li = link_person(open_hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    withdraw(open_hub, li.subject_id, li.grant_id)
    assert deliver_webhooks(open_hub)
    (message,) = receiver.messages(webhook_secret(open_hub.ring, f"participant:{CITY}"))
    assert (message["type"], message["data"]) == ("link.ended", {"account": "bj-1"})


def test_who_asked_for_nothing_is_told_nothing(open_hub: Hub, receiver: Receiver):
    client = recipient(open_hub)
    withdraw(open_hub, *give(open_hub, client))
    join(open_hub, BEIJING)
    li = link_person(open_hub, "wang", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    withdraw(open_hub, li.subject_id, li.grant_id)
    assert not deliver_webhooks(open_hub)
    assert receiver.got == []
    assert look_up(open_hub, "SELECT last_result, body, due_at FROM webhook") == [("no_receiver", None, None)]


def test_the_note_commits_with_the_change_or_not_at_all(open_hub: Hub, receiver: Receiver):
    client = recipient(open_hub, webhook_uri=receiver.url)
    subject_id, grant_id = give(open_hub, client)
    with Session(open_hub.engine) as session:
        for change in withdraw_grant(session, grant_id=grant_id, subject_id=subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=open_hub)
        session.flush()
        session.rollback()
    assert count(open_hub, "webhook") == {"webhook": 0}


def test_a_receiver_that_fails_is_asked_again_later_and_later_and_gets_the_same_message(
    open_hub: Hub, receiver: Receiver
):
    client = recipient(open_hub, webhook_uri=receiver.url)
    withdraw(open_hub, *give(open_hub, client))
    receiver.answers = [500, 503, 301]
    passed = timedelta(0)
    for pause in PAUSES[:3]:
        assert not deliver_webhooks(later(open_hub, passed))
        assert not deliver_webhooks(later(open_hub, passed + pause - timedelta(seconds=1)))
        passed += pause
    assert deliver_webhooks(later(open_hub, passed))
    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    assert (len(receiver.got), len(ids)) == (4, 1)
    assert len({body for _, body in receiver.got}) == 1
    stamps = [headers["webhook-timestamp"] for headers, _ in receiver.got]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 4  # each try is signed anew, or a receiver would take it for an old one


@pytest.mark.parametrize("answers", [[410], [500] * (len(PAUSES) + 1)])
def test_one_that_is_gone_or_fails_for_days_is_given_up_and_the_row_says_so(
    open_hub: Hub, receiver: Receiver, answers: list[int]
):
    client = recipient(open_hub, webhook_uri=receiver.url)
    withdraw(open_hub, *give(open_hub, client))
    receiver.answers = list(answers)
    for _ in range(len(PAUSES) + 3):
        assert not deliver_webhooks(later(open_hub, timedelta(days=30) * (len(receiver.got) + 1)))
    assert len(receiver.got) == len(answers)
    assert look_up(open_hub, "SELECT last_result, delivered_at, body, due_at FROM webhook") == [
        (str(answers[-1]), None, None, None)
    ]


def test_bodies_are_sealed_while_they_wait_and_gone_afterwards(open_hub: Hub, receiver: Receiver):
    join(open_hub, BEIJING | {"webhook_url": receiver.url, "allow_loopback": True})
    li = link_person(open_hub, "li", {CITY: "bj-secret-1"}, set(BEIJING["behaviours"]), NOW)
    withdraw(open_hub, li.subject_id, li.grant_id)
    (body,) = look_up(open_hub, "SELECT body FROM webhook")[0]
    assert b"bj-secret-1" not in bytes(body)
    deliver_webhooks(open_hub)
    assert look_up(open_hub, "SELECT body, last_result FROM webhook") == [(None, "taken")]


def test_an_address_on_this_machine_is_not_called_unless_that_is_allowed(hub: Hub, receiver: Receiver):
    client = recipient(hub, webhook_uri=receiver.url)
    withdraw(hub, *give(hub, client))
    assert not deliver_webhooks(hub)
    assert receiver.got == []
    assert count(hub, "webhook WHERE due_at IS NOT NULL") == {"webhook WHERE due_at IS NOT NULL": 1}


def test_of_several_workers_one_sends(open_hub: Hub, receiver: Receiver):
    client = recipient(open_hub, webhook_uri=receiver.url)
    for number in range(5):
        withdraw(open_hub, *give(open_hub, client, f"p{number}"))
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        deliver_webhooks(open_hub)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 5
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 5


def test_the_worker_sends_them(open_hub: Hub, receiver: Receiver):
    client = recipient(open_hub, webhook_uri=receiver.url)
    withdraw(open_hub, *give(open_hub, client))
    Worker(open_hub).round()
    assert len(receiver.got) == 1
