"""Named attacks on a hub that is the client of many platforms, one of which is wicked or was broken into.

Sources: RFC 9700 4.4 (mix-up) and 4.4.2; RFC 9207; draft-ietf-oauth-security-topics-update (cross-tool attacks on
integration platforms); FAPI 2.0 Security Profile 6 (attacks by metadata and by audience); RFC 9449 11.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from sqlalchemy import Engine, select, update
from sqlmodel import col
from tests_support.linking import Linking
from tests_support.oauth_platforms import OAuthPlatform

from consent.keyring import load_client_key, load_keyring
from consent.link_access import load_access
from consent.platform_client import LinkRefusal
from consent.platform_tokens import refresh, revoke_at_platform
from consent.platforms import PlatformRefused, discover
from consent.seal import SealError
from consent.sessions import SessionInfo, start_session
from consent.tables import Link, LinkAttempt
from consent.withdraw import withdraw_grant
from hub.db import writing


@pytest.fixture
def linking(engine: Engine, now: datetime, tmp_path: Path) -> Linking:
    return Linking(engine, load_keyring(tmp_path / "keys"), now)


def silent(*platforms: OAuthPlatform) -> bool:
    return all(platform.calls == [] for platform in platforms)


# Mix-up: the person chose `evil`, which sends the browser on to the bank so that the bank's code comes to it.


def bounced(linking: Linking, who: SessionInfo, **changed: object) -> dict[str, str]:
    """What the bank answers to the request that evil has passed on under the bank's client id of the hub."""
    asked = parse_qs(urlsplit(linking.start(linking.evil, who, **changed)).query)
    passed_on = {name: values[0] for name, values in asked.items()} | {"client_id": "hub@bank"}
    answer = linking.bank.approve(f"{linking.bank.issuer}/authorize?{httpx.QueryParams(passed_on)}")
    linking.evil.calls.clear()
    linking.bank.calls.clear()
    return answer


def test_mix_up_with_one_callback_for_all_platforms(linking: Linking) -> None:
    """Even if two registrations shared one address, the answer's issuer is not the one that was asked."""
    who = linking.sign_up("li")
    shared = {"redirect_uri": "https://hub.example/links/callback/any"}
    for platform in (linking.evil, linking.bank):
        answer = bounced(linking, who, **shared)
        config = platform.config(**shared)
        assert linking.refusal(platform, who, answer, config=config) is LinkRefusal.ISSUER
    assert silent(linking.bank, linking.evil)


def test_mix_up_with_a_callback_for_each_platform(linking: Linking) -> None:
    """The bank's code comes to evil's address, and is not traded at evil's token endpoint."""
    who = linking.sign_up("li")
    for platform in (linking.evil, linking.bank):
        assert linking.refusal(platform, who, bounced(linking, who)) is LinkRefusal.ISSUER
    assert silent(linking.bank, linking.evil)


@pytest.mark.parametrize("iss", [None, "", "https://evil.example"])
def test_mix_up_with_the_issuer_stripped_or_rewritten(linking: Linking, iss: str | None) -> None:
    who = linking.sign_up("li")
    for platform in (linking.bank, linking.evil) if not iss else (linking.bank,):
        answer = {name: value for name, value in bounced(linking, who).items() if name != "iss"}
        forged = answer if iss is None else {**answer, "iss": iss}
        assert linking.refusal(platform, who, forged) is LinkRefusal.ISSUER
    assert silent(linking.bank, linking.evil)


# Codes and answers in the wrong place.


def test_a_code_of_another_platform_is_not_tried_here(linking: Linking) -> None:
    who = linking.sign_up("li")
    at_evil = linking.evil.approve(linking.start(linking.evil, who))
    for platform, iss in ((linking.bank, linking.evil.issuer), (linking.bank, linking.bank.issuer)):
        again = linking.evil.approve(linking.start(linking.evil, who))
        linking.evil.calls.clear()
        assert linking.refusal(platform, who, {**again, "iss": iss}) is LinkRefusal.ISSUER
    assert silent(linking.bank)
    assert linking.finish(linking.evil, who, at_evil)


def test_what_one_registration_began_no_other_finishes(linking: Linking) -> None:
    """The operator registered the hub anew at the same issuer meanwhile: another client, the same platform."""
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    anew = linking.bank.config(client_id="hub-2@bank")
    assert linking.refusal(linking.bank, who, answer, config=anew) is LinkRefusal.ISSUER
    assert silent(linking.bank)


def test_a_stolen_code_cannot_be_put_into_a_linking_of_ones_own(linking: Linking) -> None:
    bank = linking.secure(linking.bank)
    victim, attacker = linking.sign_up("victim"), linking.sign_up("attacker")
    stolen = bank.approve(linking.start(bank, victim))
    own = bank.approve(linking.start(bank, attacker))
    assert linking.refusal(bank, attacker, {**own, "code": stolen["code"]}) is LinkRefusal.TOKEN


def test_an_answer_is_worth_nothing_the_second_time_nor_after_an_error(linking: Linking) -> None:
    who = linking.sign_up("li")
    answer = linking.bank.approve(linking.start(linking.bank, who))
    linking.finish(linking.bank, who, answer)
    linking.bank.calls.clear()
    for replayed in (answer, {**answer, "error": "access_denied"}, {"error": "access_denied", "iss": answer["iss"]}):
        assert linking.refusal(linking.bank, who, replayed) is LinkRefusal.STATE
    assert silent(linking.bank)


def test_a_callback_in_another_browser_links_nothing_there(linking: Linking) -> None:
    """The attacker lures the victim to an answer of the attacker's account: the victim's acts would be the attacker's."""
    attacker, victim = linking.sign_up("attacker"), linking.sign_up("victim")
    answer = linking.bank.approve(linking.start(linking.bank, attacker))
    with writing(linking.engine) as session:
        elsewhere = start_session(session, subject_id=attacker.subject_id, now=linking.now)[1]
    for other in (victim, elsewhere, replace(attacker, subject_id=victim.subject_id), None):
        assert linking.refusal(linking.bank, other, answer) is LinkRefusal.STATE
    assert silent(linking.bank)


def test_a_state_row_edited_in_the_database_opens_no_verifier_for_another_person(linking: Linking) -> None:
    attacker, victim = linking.sign_up("attacker"), linking.sign_up("victim")
    answer = linking.bank.approve(linking.start(linking.bank, victim))
    with writing(linking.engine) as session:
        session.execute(update(LinkAttempt).values(session_hash=attacker.token_hash, subject_id=attacker.subject_id))
    with pytest.raises(SealError):
        linking.finish(linking.bank, attacker, answer)
    assert silent(linking.bank)


# Audience injection: evil names the bank's endpoints as its own, to get an assertion that the bank takes.


@pytest.mark.parametrize(
    "name", ["token_endpoint", "pushed_authorization_request_endpoint", "revocation_endpoint", "userinfo_endpoint"]
)
def test_an_endpoint_of_another_platform_is_never_called_as_ones_own(linking: Linking, name: str) -> None:
    evil = linking.secure(linking.evil)
    evil.metadata = {name: f"{linking.bank.issuer}/{name}"}
    with pytest.raises(PlatformRefused):
        linking.start(evil, linking.sign_up("li"))
    assert silent(linking.bank)
    assert evil.assertions == []


def test_an_assertion_that_evil_obtained_is_refused_by_the_bank(linking: Linking) -> None:
    evil, bank = linking.secure(linking.evil), linking.secure(linking.bank)
    who = linking.sign_up("li")
    evil.answer = partial(keep_form, evil)  # type: ignore[method-assign]
    with pytest.raises(PlatformRefused):
        linking.start(evil, who)
    stolen = dict(parse_qsl(evil.calls[-1].content.decode()))
    assert linking.town.fetch(f"{bank.issuer}/par", method="POST", content=urlencode(stolen).encode()).status == 401
    # Not by its key alone: addressed to evil, it is refused even where one key serves all platforms.
    key = load_client_key(linking.ring, "evil")
    claims = jwt.decode(stolen["client_assertion"], key, algorithms=["ES256"]).claims
    assert claims["aud"] == "https://evil.example"


def keep_form(platform: OAuthPlatform, request: httpx.Request) -> httpx.Response:
    """Answer with metadata, and keep what is sent without ever taking it."""
    if request.url.path.startswith("/.well-known/"):
        return OAuthPlatform.answer(platform, request)
    platform.calls.append(request)
    return httpx.Response(400, json={"error": "invalid_request"})


# Poisoned metadata.


@pytest.mark.parametrize(
    "told",
    [
        {"issuer": "https://evil.example"},
        {"issuer": "https://bank.example/"},
        {"issuer": "http://bank.example"},
        {"token_endpoint": "http://bank.example/token"},
        {"token_endpoint": "https://evil.example/token"},
        {"token_endpoint": "https://bank.example@evil.example/token"},
        {"pushed_authorization_request_endpoint": "https://evil.example/par"},
        {"revocation_endpoint": "https://bank.example.evil.example/revoke"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_poisoned_metadata_is_refused_before_anything_is_sent(linking: Linking, told: dict[str, object]) -> None:
    linking.bank.metadata = told
    with pytest.raises(PlatformRefused):
        linking.start(linking.bank, linking.sign_up("li"))
    assert linking.bank.paths() == ["/.well-known/oauth-authorization-server"]
    assert silent(linking.evil)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_metadata_that_leads_elsewhere_is_not_followed(linking: Linking, status: int) -> None:
    elsewhere = {"location": f"{linking.evil.issuer}/.well-known/oauth-authorization-server"}
    linking.bank.answer = lambda _: httpx.Response(status, headers=elsewhere)  # type: ignore[method-assign]
    with pytest.raises(PlatformRefused):
        discover(linking.town, linking.bank.config())
    assert silent(linking.evil)


@pytest.mark.parametrize("body", [b"[]", b"", b'{"issuer":"a","issuer":"b"}', b"{" * 70_000, b'{"a":NaN}', b"\xff"])
def test_metadata_that_is_no_plain_document_is_refused(linking: Linking, body: bytes) -> None:
    linking.bank.answer = lambda _: httpx.Response(200, content=body)  # type: ignore[method-assign]
    with pytest.raises(PlatformRefused):
        discover(linking.town, linking.bank.config())


def test_metadata_changed_after_joining_gets_neither_code_nor_refresh_token_nor_revocation(linking: Linking) -> None:
    """Whoever has the platform's web server for an hour may name endpoints at the right origin: a path of their own."""
    bank = linking.secure(linking.bank)
    who = linking.sign_up("li")
    link_id = linking.finish(bank, who, bank.approve(linking.start(bank, who)))
    other = linking.sign_up("wang")
    answer = bank.approve(linking.start(bank, other))
    bank.metadata = {"token_endpoint": f"{bank.issuer}/~eve/token", "revocation_endpoint": f"{bank.issuer}/~eve/revoke"}
    bank.calls.clear()
    call = {"config": bank.config(), "link_id": link_id, "now": linking.now + timedelta(hours=1)}
    with pytest.raises(PlatformRefused):
        linking.finish(bank, other, answer)
    with pytest.raises(PlatformRefused):
        refresh(linking.transactions, linking.ring, linking.town, record=linking.record, **call)  # type: ignore[arg-type]
    with writing(linking.engine) as session:
        grant = session.get_one(Link, link_id).grant_id
        assert who.subject_id is not None
        withdraw_grant(session, grant_id=grant, subject_id=who.subject_id, now=linking.now)
    with pytest.raises(PlatformRefused):
        revoke_at_platform(linking.transactions, linking.ring, linking.town, **call)  # type: ignore[arg-type]
    assert set(bank.paths()) == {"/.well-known/oauth-authorization-server"}


# Scope and tokens.


@pytest.mark.parametrize("told", ["records:read openid records:write", "*  records:read", "records:read payments"])
def test_scope_does_not_creep(linking: Linking, told: str) -> None:
    linking.bank.token_answer = {"scope": told}
    who = linking.sign_up("li")
    link_id = linking.finish(linking.bank, who, linking.bank.approve(linking.start(linking.bank, who)))
    with writing(linking.engine) as session:
        assert set(session.get_one(Link, link_id).scope.split()) <= {"records:read", "openid"}


def test_a_token_transplanted_from_a_victims_row_opens_nowhere(linking: Linking) -> None:
    """Who can write the database still cannot read another person's account: the sealed token fits its own row only."""
    ids = {}
    for name in ("victim", "attacker"):
        who = linking.sign_up(name)
        linking.bank.account = f"account-of-{name}"
        ids[name] = linking.finish(linking.bank, who, linking.bank.approve(linking.start(linking.bank, who)))
    with writing(linking.engine) as session:
        stolen = session.scalar(select(col(Link.token_sealed)).where(col(Link.link_id) == ids["victim"]))
        session.execute(update(Link).where(col(Link.link_id) == ids["attacker"]).values(token_sealed=stolen))
    with writing(linking.engine) as session, pytest.raises(SealError):
        load_access(session, linking.ring, link_id=ids["attacker"], now=linking.now)


def test_a_link_moved_to_a_wicked_platform_gives_it_no_token(linking: Linking) -> None:
    who = linking.sign_up("li")
    link_id = linking.finish(linking.bank, who, linking.bank.approve(linking.start(linking.bank, who)))
    with writing(linking.engine) as session:
        moved = {"platform": "evil", "state": "revoked", "give_back_at": linking.now}
        session.execute(update(Link).where(col(Link.link_id) == link_id).values(**moved))
    with pytest.raises(SealError):
        revoke_at_platform(
            linking.transactions, linking.ring, linking.town, config=linking.evil.config(), link_id=link_id,
            now=linking.now,
        )  # fmt: skip
    assert silent(linking.evil)
