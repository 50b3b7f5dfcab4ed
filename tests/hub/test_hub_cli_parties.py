"""Participants, clients, people and staff by the command line."""

from datetime import UTC, date, datetime
from typing import Any

from tests_support.deliveries import BEIJING
from tests_support.portal import Visitor
from tests_support.pushes import DOOR, push
from tests_support.terminal import Terminal
from tests_support.tokens import metadata
from tests_support.town import document_of
from tests_support.web import Caller, count, look_up

from connectors.base import Scope
from hub.context import Hub
from hub.db import reading
from hub.participants import open_platform
from hub.sandbox.people import CITIC, PLATFORMS, WECHAT

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"


def test_a_participant_is_added_once_however_often_and_replaced_by_another_document(tanlian: Terminal, opened: Hub):
    first = tanlian.write("beijing.json", BEIJING)
    assert tanlian("participants", "add", first).out == f"{CITY}: stored\n"
    before = count(opened, "participant", "change_leaf", "sync_state")
    assert tanlian("participants", "add", first).out == f"{CITY}: unchanged\n"
    assert count(opened, "participant", "change_leaf", "sync_state") == before
    assert [one["id"] for one in tanlian("participants", "list", "--json").json] == [CITY]
    second = tanlian.write("other.json", BEIJING | {"name_en": "Beijing, renamed"})
    assert tanlian("participants", "add", second).out == f"{CITY}: stored\n"
    assert tanlian("participants", "show", CITY, "--json").json["name_en"] == "Beijing, renamed"
    assert count(opened, "participant") == {"participant": 1}


def test_the_sandbox_s_documents_are_added_together_where_loopback_is_allowed(tanlian: Terminal, opened: Hub):
    files = [tanlian.write(f"{name}.json", document_of(name, drop=tanlian.folder)) for name in PLATFORMS]
    assert "TANLIAN_ALLOW_LOOPBACK" in tanlian("participants", "add", *files).complaint
    assert count(opened, "participant") == {"participant": 0}
    tanlian.monkeypatch.setenv("TANLIAN_ALLOW_LOOPBACK", "1")
    assert tanlian("participants", "add", *files).out.count("stored") == len(PLATFORMS)
    with reading(opened.engine) as session:
        platforms = [open_platform(session, opened.ring, name) for name in PLATFORMS]
    followed = sum(len(list(platform.fetched(Scope.PLATFORM))) for platform in platforms)
    assert count(opened, "participant", "sync_state") == {"participant": len(PLATFORMS), "sync_state": followed}


def test_a_connector_s_own_loopback_switch_needs_the_same_permission(tanlian: Terminal, opened: Hub):
    for platform in (CITIC, WECHAT):
        document = document_of(platform) | {"allow_loopback": False, "oauth": None, "statement_url": None}
        assert document["connector_config"]["allow_loopback"] is True
        complaint = tanlian("participants", "add", tanlian.write("p.json", document)).complaint
        assert "TANLIAN_ALLOW_LOOPBACK" in complaint, platform
    assert count(opened, "participant") == {"participant": 0}


WRONG_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "not valid"),
    "a list": ("[]", "not valid"),
    "empty": ("", "not valid"),
    "no id": ({name: value for name, value in BEIJING.items() if name != "id"}, "id"),
    "an id with a slash": (BEIJING | {"id": "a/b"}, "id"),
    "an id with a line break": (BEIJING | {"id": "city\n"}, "id"),
    "an unknown field": (BEIJING | {"colour": "red"}, "colour"),
    "an unknown connector": (BEIJING | {"connector": "telepathy"}, "telepathy"),
    "an unknown mapping": (BEIJING | {"mapping": "nobody.acts.v1"}, "nobody.acts.v1"),
    "a mapping outside the folder": (BEIJING | {"mapping": "../../etc/passwd"}, "mapping"),
    "an unknown behaviour": (BEIJING | {"behaviours": ["MOB-BIKE", "MOB-TELEPORT"]}, "MOB-TELEPORT"),
    "no behaviours": (BEIJING | {"behaviours": []}, "behaviours"),
    "a stream that the connector has not": (BEIJING | {"stream": "dreams"}, "stream"),
    "an unknown field of the connector": (BEIJING | {"connector_config": {"colour": "red"}}, "colour"),
    "a secret too short": (BEIJING | {"secrets": {"webhook_secrets": "whsec_AAAA"}}, "webhook_secrets"),
    "no secret": (BEIJING | {"secrets": {}}, "webhook_secrets"),
    "a statement by plain http": (BEIJING | {"statement_url": "http://city.example/s"}, "statement_url"),
    "a statement by ftp": (BEIJING | {"statement_url": "ftp://city.example/s"}, "statement_url"),
    "an issuer by plain http": (
        BEIJING | {"oauth": {"issuer": "http://city.example", "client_id": "a", "client_secret": "b", "scopes": ["c"]}},
        "oauth.issuer",
    ),
    "an issuer with a password in it": (
        BEIJING | {"oauth": {"issuer": "https://u:p@city.example", "client_id": "a", "client_secret": "b", "scopes": ["c"]}},
        "oauth.issuer",
    ),
}  # fmt: skip


def test_a_wrong_document_is_one_line_that_names_the_field_and_stores_nothing(tanlian: Terminal, opened: Hub):
    for name, (document, named) in WRONG_DOCUMENTS.items():
        complaint = tanlian("participants", "add", tanlian.write("wrong.json", document)).complaint
        assert named in complaint, (name, complaint)
        assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in complaint, name
    assert count(opened, "participant", "change_leaf") == {"participant": 0, "change_leaf": 0}


def test_one_wrong_document_among_many_stores_none_of_them(tanlian: Terminal, opened: Hub):
    good, wrong = tanlian.write("good.json", BEIJING), tanlian.write("wrong.json", "{")
    tanlian("participants", "add", good, wrong).complaint  # noqa: B018 - asserts one line and code 1
    assert count(opened, "participant") == {"participant": 0}


def test_no_secret_of_a_participant_is_ever_shown(tanlian: Terminal, opened: Hub):
    tanlian.monkeypatch.setenv("TANLIAN_ALLOW_LOOPBACK", "1")
    document = document_of(CITY)
    tanlian("participants", "add", tanlian.write("p.json", document))
    secrets = [document["oauth"]["client_secret"], document["secrets"]["webhook_secrets"]]
    checked = ["connectors", "check", CITY, "--only", "live", "--only", "contract"]
    for words in (["participants", "show", CITY], ["participants", "list"], checked):
        for flag in ([], ["--json"]):
            ran = tanlian(*words, *flag)
            assert ran.code == 0
            assert not any(secret in ran.out for secret in secrets)
    raw = look_up(opened, "SELECT configuration FROM participant")[0][0]
    assert not any(secret.encode() in bytes(raw) for secret in secrets)


def test_a_suspension_closes_the_door_and_reinstating_opens_it(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    door = Caller(opened)
    assert tanlian("participants", "suspend", CITY).out == f"{CITY}: suspended\n"
    assert tanlian("participants", "suspend", CITY).out == f"{CITY}: suspended already\n"
    assert door.post(DOOR, **push("m1", now=NOW)).status_code == 404
    assert tanlian("participants", "show", CITY, "--json").json["status"] == "suspended"
    assert tanlian("participants", "reinstate", CITY).code == 0
    assert door.post(DOOR, **push("m1", now=NOW)).status_code == 200


def test_an_unknown_participant_is_one_line(tanlian: Terminal):
    for words in ("participants show", "participants suspend", "connectors check"):
        for name in ("nobody", "", "a/b", "x" * 3000, "名"):
            assert "no participant" in tanlian(*words.split(), name).complaint, words


def test_a_client_is_registered_and_its_information_is_json(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    ran = tanlian("clients", "register", tanlian.write("client.json", metadata()), "--participant", CITY)
    told = ran.json
    assert (ran.code, told["scope"], told["token_endpoint_auth_method"]) == (0, "records:write", "private_key_jwt")
    assert look_up(opened, "SELECT client_id, participant FROM oauth_client") == [(told["client_id"], CITY)]


def test_a_client_that_cannot_be_registered_is_one_line(tanlian: Terminal, opened: Hub):
    good = metadata()
    cases: dict[str, Any] = {
        "no JSON": "{",
        "a list": [],
        "a text": '"client"',
        "no name": {name: value for name, value in good.items() if name != "client_name"},
        "an unknown scope": good | {"scope": "everything"},
        "a shared secret": good | {"token_endpoint_auth_method": "client_secret_basic"},
        "a private key": good | {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c"}]}},
        "no keys": good | {"jwks": {"keys": []}},
    }
    for name, document in cases.items():
        complaint = tanlian("clients", "register", tanlian.write("wrong.json", document)).complaint
        assert "wrong.json" in complaint, name
    file = tanlian.write("client.json", good)
    assert "no participant" in tanlian("clients", "register", file, "--participant", "nobody").complaint
    assert count(opened, "oauth_client") == {"oauth_client": 0}


def test_a_person_is_created_and_can_sign_in(tanlian: Terminal, opened: Hub):
    assert tanlian("people", "add", "李雷", "--password-stdin", stdin="a long password\n").out == "李雷: created\n"
    assert Visitor(opened).sign_in("李雷", "a long password").goes_to == "/"
    assert "taken" in tanlian("people", "add", "李雷", "--password-stdin", stdin="a long password\n").complaint
    assert count(opened, "person") == {"person": 1}


def test_a_person_with_an_impossible_name_or_password_is_one_line(tanlian: Terminal, opened: Hub):
    good = "a long password"
    for name, password in (("li", "short"), ("li", ""), ("", good), ("x" * 100, good), ("a\nb", good)):
        assert tanlian("people", "add", name, "--password-stdin", stdin=f"{password}\n").complaint
    assert count(opened, "person") == {"person": 0}


def test_a_child_is_created_with_its_guardian(tanlian: Terminal, opened: Hub):
    born = f"{date.today().year - 8}-03-01"  # the command's clock is the real one
    password = {"stdin": "a long password\n"}
    assert tanlian("people", "add", "parent", "--born", "1980-01-02", "--password-stdin", **password).code == 0
    assert tanlian(
        "people", "add", "child", "--born", born, "--guardian", "parent", "--password-stdin", **password
    ).out == "child: created\n"  # fmt: skip
    rows = look_up(
        opened,
        "SELECT c.username, g.username, c.born_sealed IS NOT NULL FROM person c LEFT JOIN person g "
        "ON g.subject_id = c.guardian_id ORDER BY c.username",
    )
    assert [(name, guardian, bool(sealed)) for name, guardian, sealed in rows] == [
        ("child", "parent", True), ("parent", None, True),
    ]  # fmt: skip
    assert "no account" in tanlian(
        "people", "add", "other", "--born", born, "--guardian", "nobody", "--password-stdin", **password
    ).complaint  # fmt: skip
    assert tanlian("people", "add", "other", "--born", "yesterday", "--password-stdin", **password).code == 2
    assert count(opened, "person") == {"person": 2}


# Staff.


def test_staff_are_added_with_a_link_listed_invited_anew_and_disabled(tanlian: Terminal, opened: Hub):
    tanlian.monkeypatch.setenv("TANLIAN_ISSUER", "https://hub.example/")
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    ran = tanlian("staff", "add", "chen", "--role", "operator")
    assert (ran.code, len(ran.out.splitlines())) == (0, 2)
    link = ran.out.splitlines()[1]
    assert link.startswith("https://hub.example/staff/enrol?token=")
    told = tanlian("staff", "add", "lin", "--role", "platform", "--participant", CITY, "--json").json
    assert (told["name"], told["passkeys"]) == ("lin", True)
    assert tanlian("staff", "add", "gu", "--role", "regulator", "--jurisdiction", "440300").code == 0
    again = tanlian("staff", "enrol", "chen").out.splitlines()[1]
    assert again != link
    assert tanlian("staff", "disable", "gu").out == "gu: disabled\n"
    assert tanlian("staff", "disable", "gu").out == "gu: disabled already\n"
    rows = tanlian("staff", "list", "--json").json
    assert [(row["name"], row["participant"], row["jurisdiction"], row["standing"]) for row in rows] == [
        ("chen", None, None, "invited"),
        ("gu", None, "440300", "disabled"),
        ("lin", CITY, None, "invited"),
    ]
    assert "operator" in tanlian("staff", "list").out
    assert len(look_up(opened, "SELECT * FROM staff_enrolment")) == 2
    assert link.rpartition("=")[2] not in str(look_up(opened, "SELECT * FROM staff_enrolment"))


def test_a_member_of_staff_who_cannot_be_is_refused_in_one_line(tanlian: Terminal, opened: Hub):
    for words in (
        ["add", "chen", "--role", "platform"],
        ["add", "chen", "--role", "platform", "--participant", "nobody"],
        ["add", "chen", "--role", "operator", "--jurisdiction", "CN"],
        ["add", "chen", "--role", "regulator", "--jurisdiction", "44"],
        ["add", "Chen Wei", "--role", "operator"],
        ["enrol", "nobody"],
        ["disable", "nobody"],
    ):
        assert tanlian("staff", *words).complaint
    assert count(opened, "staff", "staff_action") == {"staff": 0, "staff_action": 0}
    assert tanlian("staff", "add", "chen", "--role", "operator").code == 0
    assert "already" in tanlian("staff", "add", "chen", "--role", "operator").complaint


def test_where_no_browser_gives_passkeys_the_link_comes_with_a_warning(tanlian: Terminal, opened: Hub):
    assert "TANLIAN_ISSUER" in tanlian("staff", "add", "chen", "--role", "operator").out
    assert tanlian("staff", "enrol", "chen", "--json").json["passkeys"] is False
