"""A person with cleared acts in a final, a cleared and an open window, and what tests of attestations do with them."""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey
from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.people import link_person
from tests_support.tokens import Machine
from tests_support.web import Caller, look_up
from tests_support.windows import clear_window, close_window

from hub.attestations.content import SINGLE, Asked
from hub.attestations.issue import issue_own
from hub.attestations.sdjwt import digest_of
from hub.context import Hub
from hub.db import writing
from hub.participants import open_platform
from hub.pipeline import clear_dirty, take_delivery

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY, CAR = "beijing-green-life", "kuaidian"
BIKE_MG = 67_760
"""Two kilometres by bike at 33.88 g/km."""
EVERYTHING = (*SINGLE, "by_category_mg", "by_region_mg")
SINCE, UNTIL = date(2026, 11, 1), date(2026, 11, 20)


def ride(number: str, account: str, day: int, scene: str = "BIKE", **changes: Any) -> dict[str, Any]:
    at = f"2026-11-{day:02d}T08:12:03+08:00"
    times = {"beginTime": at, "endTime": at.replace("08:12", "08:24")}
    return act(number, account, scene=scene, **(times | changes))


def settle_town(hub: Hub) -> int:
    """Li: two rides and a charge that are final, one ride cleared, one not; Wang: one ride. Returns Li's subject id."""
    city, car = join(hub, BEIJING), join(hub, KUAIDIAN)
    behaviours = {*BEIJING["behaviours"], *KUAIDIAN["behaviours"]}
    li = link_person(hub, "li", {CITY: "bj-1", CAR: "kd-1"}, behaviours, NOW)
    link_person(hub, "wang", {CITY: "bj-2"}, set(BEIJING["behaviours"]), NOW)
    first = [ride("1", "bj-1", 15), ride("2", "bj-1", 16, cityCode="440300"), ride("9", "bj-2", 15)]
    take_delivery(hub, city, delivery("d1", *first), now=NOW)
    charged = charge("1", StartTime="2026-11-17 10:00:00", EndTime="2026-11-17 11:00:00")
    take_delivery(hub, car, delivery("c1", charged, stream="charge_orders"), now=NOW)
    close_window(hub, NOW)
    take_delivery(hub, city, delivery("d2", ride("3", "bj-1", 18)), now=NOW)
    clear_window(hub, NOW)
    take_delivery(hub, city, delivery("d3", ride("4", "bj-1", 19)), now=NOW)
    clear_dirty(hub, now=NOW)
    return li.subject_id


def correct_ride(hub: Hub, number: str, day: int, *, name: str = "d9", **changes: Any) -> None:
    """Deliver the next version of a ride, and clear the window in which it comes."""
    with writing(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    told = {"ver": 2, "updateTime": "2026-11-20T09:00:00+08:00"} | changes
    take_delivery(hub, city, delivery(name, ride(number, "bj-1", day, **told)), now=NOW)
    clear_window(hub, NOW)


def own(hub: Hub, subject_id: int, *disclose: str, now: datetime = NOW, **asked: Any) -> tuple[str, str]:
    """Have an attestation made for oneself; returns its id and the statement."""
    wanted = {"since": SINCE, "until": UNTIL, "disclose": disclose or EVERYTHING} | asked
    issued = issue_own(hub, subject_id, Asked(**wanted), now=now)
    return issued.row.attestation_id, issued.statement


def jwks_of(hub: Hub) -> dict[str, Any]:
    """What anybody fetches to check attestations."""
    answer = Caller(hub).get("/.well-known/jwt-vc-issuer")
    assert answer.status_code == 200
    return dict(answer.json())


def list_of(hub: Hub, number: int = 1) -> str:
    answer = Caller(hub).get(f"/v1/status-lists/{number}")
    assert answer.status_code == 200, answer.text
    return answer.text


def payload_of(statement: str) -> dict[str, Any]:
    """Read the signed payload without checking anything."""
    part = statement.split("~")[0].split(".")[1]
    return dict(json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def bound(statement: str, key: ECKey, *, aud: str, nonce: str, at: datetime = NOW, **changed: Any) -> str:
    """Show a statement as its holder's wallet does: with a key binding JWT (RFC 9901, 4.3)."""
    claims = {"iat": int(at.timestamp()), "aud": aud, "nonce": nonce, "sd_hash": digest_of(statement)} | changed
    header = {"alg": "ES256", "typ": "kb+jwt"}
    return statement + str(jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=["ES256"]))


def sql(hub: Hub, statement: str, **values: Any) -> None:
    """Change the database past the hub."""
    with writing(hub.engine) as session:
        session.execute(text(statement), values)


def state_in_table(hub: Hub, attestation_id: str) -> tuple[bool, str | None]:
    """Tell whether a row is revoked, and why."""
    ((at, reason),) = look_up(
        hub, "SELECT revoked_at, reason FROM attestation WHERE attestation_id = :a", a=attestation_id
    )
    return at is not None, reason


@dataclass
class Recipient:
    """A credit system with a person's token; `ask` has an attestation made."""

    machine: Machine
    tokens: dict[str, Any]
    asked: int = 0

    @classmethod
    def of(cls, hub: Hub, subject_id: int, **consent: Any) -> "Recipient":
        machine = Machine.recipient(hub)
        return cls(machine, machine.consented(subject_id, **consent))

    @property
    def token(self) -> str:
        return str(self.tokens["access_token"])

    @property
    def client_id(self) -> str:
        return self.machine.client_id

    def ask(self, key: str | None = None, **changed: Any) -> httpx.Response:
        self.asked += 1
        body = {"from": "2026-11-01", "until": "2026-11-20", "disclose": list(EVERYTHING)} | changed
        headers = {"idempotency-key": key or f"k{self.asked}"}
        return self.machine.send_json("/v1/attestations", body, token=self.token, headers=headers)

    def see(self, path: str = "") -> httpx.Response:
        return self.machine.get(f"/v1/attestations{path}", self.token)

    def later(self, hub: Hub, **passed: float) -> "Recipient":
        """Go on after a while, with a fresh token."""
        self.machine.move(replace(hub, clock=lambda: NOW + timedelta(**passed)))
        told = self.machine.refresh(self.tokens["refresh_token"])
        assert told.status == 200, told.document
        self.tokens = {**self.tokens, **told.document}
        return self
