"""Members of staff at the hub's pages, with a device of their own."""

from typing import Any

from tests_support.authenticator import Authenticator
from tests_support.portal import Step, Visitor

from hub.context import Hub
from hub.db import writing
from hub.staff.accounts import add_staff, make_enrolment
from hub.staff.rights import Role

SCOPES: dict[Role, dict[str, str]] = {
    Role.PLATFORM: {"participant": "beijing-green-life"},
    Role.REGULATOR: {"jurisdiction": "440300"},
    Role.OPERATOR: {},
}


def invite(hub: Hub, name: str = "chen", role: Role = Role.OPERATOR, **scope: str) -> str:
    """Add a member; returns the token of their link."""
    with writing(hub.engine) as session:
        add_staff(session, name=name, role=role, now=hub.clock(), **(scope or SCOPES[role]))
        return make_enrolment(session, name, now=hub.clock())


class StaffVisitor(Visitor):
    """One browser of a member of staff; `device` holds their passkey."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.device = Authenticator(origin=hub.settings.issuer)

    def ask(self, path: str, **fields: str) -> dict[str, Any]:
        """What the page's script asks; an empty answer is a refusal."""
        answer: dict[str, Any] = self.send(path, **fields).answer.json()
        return answer

    def enrol(self, token: str, **lies: Any) -> Step:
        step = self.see(f"/staff/enrol?token={token}")
        if step.status != 200:
            return step
        self.csrf = step.csrf
        options = self.ask("/staff/enrol/options", token=token)
        return self.send("/staff/enrol", token=token, name="laptop", credential=self.device.create(options, **lies))

    def sign_in_as_staff(self, **lies: Any) -> Step:
        self.csrf = self.see("/staff/signin").csrf
        options = self.ask("/staff/signin/options")
        step = self.send("/staff/signin", credential=self.device.get(options, **lies))
        if step.goes_to == "/staff":
            self.csrf = self.see("/staff").csrf
        return step


def staff_visitor(hub: Hub, role: Role = Role.OPERATOR, name: str = "chen", **scope: str) -> StaffVisitor:
    """A new member of staff who has enrolled and signed in."""
    browser = StaffVisitor(hub)
    assert browser.enrol(invite(hub, name, role, **scope)).goes_to == "/staff/signin"
    assert browser.sign_in_as_staff().goes_to == "/staff"
    return browser
