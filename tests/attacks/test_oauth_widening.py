"""Consent widening: whatever a client does in whatever order, it never holds more than that person said yes to."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests_support.oauth import KNOWN, TYPE, Bank, make_authority

from consent.authorize import DecisionRefused
from consent.details import SCOPE_OF
from consent.grants import GrantState, find_client_grant, pause_grant, resume_grant
from consent.people import add_person
from consent.terms import Sensitive, without_undecided
from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import reading, writing

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
SCOPES = ["account:read", "grams:use", "account:read grams:use"]
DETAIL = st.fixed_dictionaries(
    {
        "type": st.just(TYPE),
        "actions": st.lists(st.sampled_from(["read", "use"]), min_size=1, max_size=2, unique=True),
        "behaviours": st.lists(st.sampled_from(sorted(KNOWN.behaviours)), min_size=1, max_size=2, unique=True),
        "platforms": st.lists(st.sampled_from(sorted(KNOWN.platforms)), min_size=1, max_size=1),
        "frequency": st.sampled_from(["once", "daily", "always"]),
    }
)
# One thing that somebody may do: an action on a behaviour of a platform.
Atom = tuple[str, str, str]


def atoms_of(details: list[dict[str, Any]]) -> set[Atom]:
    return {
        (action, behaviour, platform)
        for one in details
        for action in one["actions"]
        for behaviour in one["behaviours"]
        for platform in one["platforms"]
    }


@dataclass
class Yes:
    """What one person has said yes to under one grant, as long as it stands."""

    subject_id: int
    atoms: set[Atom]
    scopes: set[str]
    state: str = "active"
    access: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)


def said_yes_to(asked: list[dict[str, Any]], ticked: set[int], agreed: set[Sensitive]) -> set[Atom]:
    shown = [
        {**one, "behaviours": sorted(without_undecided(one["behaviours"], agreed))}
        for place, one in enumerate(asked)
        if place in ticked
    ]
    return atoms_of(shown)


class Widening(RuleBasedStateMachine):
    """Two people and one client, which authorises, merges, replaces and refreshes as it likes."""

    hub: Hub

    def __init__(self) -> None:
        super().__init__()
        self.bank = Bank(self.hub.engine, make_authority(self.hub.ring), NOW)
        self.yes: dict[str, Yes] = {}
        self.kept: list[tuple[str, str]] = []  # codes that the client has not redeemed yet
        with writing(self.hub.engine) as session:
            number = session.connection().exec_driver_sql("SELECT COUNT(*) FROM person").scalar_one()
            self.people = [
                add_person(
                    session, self.hub.ring, username=f"p{number}{n}", password=None, display_name="x", now=NOW
                ).subject_id
                for n in range(2)
            ]

    @rule(
        data=st.data(),
        asked=st.lists(DETAIL, min_size=1, max_size=2),
        scope=st.sampled_from(SCOPES),
        action=st.sampled_from(["create", "merge", "replace"]),
        ticked=st.sets(st.integers(0, 1)),
        agreed=st.sets(st.sampled_from(Sensitive)),
        person=st.integers(0, 1),
        redeems=st.booleans(),
    )
    def authorise(
        self,
        data: st.DataObject,
        asked: list[dict[str, Any]],
        scope: str,
        action: str,
        ticked: set[int],
        agreed: set[Sensitive],
        person: int,
        redeems: bool,
    ) -> None:
        more: dict[str, Any] = {}
        if action != "create":
            if not self.yes:
                return
            more = {"grant_management_action": action, "grant_id": data.draw(st.sampled_from(list(self.yes)))}
        told = self.bank.push(scope=scope, authorization_details=asked, **more)
        standing = self.yes.get(more.get("grant_id", ""))
        if told.status != 201:
            assert standing is not None
            assert standing.state != "active"
            return
        subject_id, meant = self.people[person], said_yes_to(asked, ticked, agreed)
        try:
            code = self.bank.decide(
                subject_id, told.document["request_uri"], chosen=frozenset(ticked), agreed=frozenset(agreed)
            )["code"]
        except DecisionRefused:
            return
        scopes = set(scope.split()) & {SCOPE_OF[action] for action, _, _ in meant}
        if standing is not None:
            assert standing.subject_id == subject_id, "another person's grant was changed"
            standing.access, standing.refresh = [], []
            if action == "merge":
                standing.atoms |= meant
                standing.scopes |= scopes
            else:
                standing.atoms, standing.scopes = meant, scopes
        if not redeems and standing is not None:
            self.kept.append((code, more["grant_id"]))
            return
        given = self.bank.redeem(code).document
        yes = standing or self.yes.setdefault(given["grant_id"], Yes(subject_id, meant, scopes))
        assert set(given["scope"].split()) <= scopes
        assert atoms_of(given["authorization_details"]) <= yes.atoms
        yes.access.append(given["access_token"])
        yes.refresh.append(given["refresh_token"])

    @precondition(lambda self: self.kept)
    @rule()
    def redeem_late(self) -> None:
        code, grant_id = self.kept.pop(0)
        told, yes = self.bank.redeem(code), self.yes[grant_id]
        if told.status == 200:
            assert yes.state == "active"
            assert set(told.document["scope"].split()) <= yes.scopes
            assert atoms_of(told.document["authorization_details"]) <= yes.atoms
            yes.access.append(told.document["access_token"])
            yes.refresh.append(told.document["refresh_token"])

    @precondition(lambda self: self.yes)
    @rule(data=st.data(), scope=st.sampled_from([None, *SCOPES, "records:write", "account:read regulator"]))
    def refresh(self, data: st.DataObject, scope: str | None) -> None:
        yes = self.yes[data.draw(st.sampled_from(list(self.yes)))]
        if not yes.refresh:
            return
        told = self.bank.refresh(yes.refresh[-1], **({} if scope is None else {"scope": scope}))
        if told.status == 200:
            assert yes.state == "active"
            assert set(told.document["scope"].split()) <= yes.scopes
            assert atoms_of(told.document["authorization_details"]) <= yes.atoms
            yes.access.append(told.document["access_token"])

    @precondition(lambda self: self.yes)
    @rule(data=st.data(), act=st.sampled_from(["withdraw", "pause", "resume"]))
    def change_mind(self, data: st.DataObject, act: str) -> None:
        grant_id = data.draw(st.sampled_from(list(self.yes)))
        yes = self.yes[grant_id]
        legal = {"withdraw": ("active", "paused"), "pause": ("active",), "resume": ("paused",)}
        if yes.state not in legal[act]:
            return
        step, yes.state = {
            "withdraw": (withdraw_grant, "withdrawn"), "pause": (pause_grant, "paused"), "resume": (resume_grant, "active")
        }[act]  # fmt: skip
        with writing(self.hub.engine) as session:
            step(session, grant_id=grant_id, subject_id=yes.subject_id, now=NOW)

    @invariant()
    def nothing_is_effective_that_was_not_said_yes_to(self) -> None:
        for grant_id, yes in self.yes.items():
            for token in (yes.access + yes.refresh)[-3:]:
                told = self.bank.introspect(token).document
                assert told["active"] <= (yes.state == "active")
                if told["active"]:
                    assert set(told["scope"].split()) <= yes.scopes
                    assert atoms_of(told["authorization_details"]) <= yes.atoms
            with reading(self.hub.engine) as session:
                grant = find_client_grant(session, grant_id=grant_id, client_id=self.bank.client_id)
            assert (grant is not None and grant.state is GrantState.ACTIVE) == (yes.state == "active")
            if grant is not None:
                assert atoms_of(json.loads(grant.terms.details)) <= yes.atoms
                assert set(grant.terms.scope.split()) <= yes.scopes


def test_consent_widening_over_any_order_of_steps(hub: Hub) -> None:
    machine = type("WideningHere", (Widening,), {"hub": hub})
    quick = settings(
        max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=quick)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(frequencies=st.lists(st.sampled_from(["once", "daily", "weekly", "monthly", "always"]), min_size=1, max_size=3))
def test_consent_widening_no_merge_lets_a_client_look_oftener(hub: Hub, frequencies: list[str]) -> None:
    bank = Bank(hub.engine, make_authority(hub.ring), NOW)
    with writing(hub.engine) as session:
        number = session.connection().exec_driver_sql("SELECT COUNT(*) FROM person").scalar_one()
        person = add_person(
            session, hub.ring, username=f"q{number}", password=None, display_name="x", now=NOW
        ).subject_id
    grant_id, order = "", ["once", "monthly", "weekly", "daily", "always"]
    for place, frequency in enumerate(frequencies):
        more = {"grant_management_action": "merge", "grant_id": grant_id} if grant_id else {}
        detail = {"type": TYPE, "actions": ["read"], "behaviours": ["FOOD-CLEANPLATE"], "frequency": frequency}
        grant_id = bank.consented(person, authorization_details=[detail], **more)["grant_id"]
        with reading(hub.engine) as session:
            grant = find_client_grant(session, grant_id=grant_id, client_id=bank.client_id)
        assert grant is not None
        assert order.index(grant.terms.frequency) == min(order.index(one) for one in frequencies[: place + 1])
