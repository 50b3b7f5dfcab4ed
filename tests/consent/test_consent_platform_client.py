"""The hub as a client of platforms: pushed requests, proofs of possession, assertions, pinned endpoints, renewals."""

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import Engine, select, update
from sqlmodel import col
from tests_support.linking import Linking
from tests_support.oauth_platforms import OAuthPlatform

from consent.keyring import load_client_key, load_keyring
from consent.link_access import load_access
from consent.links import LinkState
from consent.platform_client import LinkRefusal
from consent.platform_dpop import load_proof_key
from consent.platform_pins import pin_anew, trusted_metadata
from consent.platform_tokens import Refreshed, refresh
from consent.platforms import PlatformRefused, discover
from consent.tables import Link, PlatformPin
from consent.token_endpoint import TokenEndpointBusy
from hub.db import writing


@pytest.fixture
def linking(engine: Engine, now: datetime, tmp_path: Path) -> Linking:
    return Linking(engine, load_keyring(tmp_path / "keys"), now)


def linked(linking: Linking, platform: OAuthPlatform, name: str = "li") -> str:
    who = linking.sign_up(name)
    return linking.finish(platform, who, platform.approve(linking.start(platform, who)))


def renew(linking: Linking, link_id: str, *, after: timedelta = timedelta(hours=1), **more: int) -> Refreshed:
    return refresh(
        linking.transactions, linking.ring, linking.town, config=linking.bank.config(), link_id=link_id,
        now=linking.now + after, record=linking.record, **more,
    )  # fmt: skip


def access_token(linking: Linking, link_id: str) -> tuple[str, int]:
    with writing(linking.engine) as session:
        access = load_access(session, linking.ring, link_id=link_id, now=linking.now)
        assert access.tokens is not None
        return access.tokens.access_token, access.token_version


# Pushed requests.


def test_a_pushed_request_leaves_only_its_name_to_the_browser(linking: Linking) -> None:
    bank = linking.secure(linking.bank)
    who = linking.sign_up("li")
    address = linking.start(bank, who)
    assert sorted(parse_qs(urlsplit(address).query)) == ["client_id", "request_uri"]
    (asked,) = bank.pushed.values()
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "records:read openid"
    assert asked["redirect_uri"] == bank.config().redirect_uri
    assert asked["dpop_jkt"] == load_proof_key(linking.ring, "bank").thumbprint
    assert linking.finish(bank, who, bank.approve(address)).startswith("l_")


def test_a_platform_that_demands_pushed_requests_gets_them_unasked(linking: Linking) -> None:
    linking.bank.metadata = {"require_pushed_authorization_requests": True}
    who = linking.sign_up("li")
    address = linking.start(linking.bank, who)
    assert sorted(parse_qs(urlsplit(address).query)) == ["client_id", "request_uri"]
    linking.finish(linking.bank, who, linking.bank.approve(address))


@pytest.mark.parametrize(
    ("status", "told", "expected"),
    [
        (503, {}, TokenEndpointBusy),
        (429, {}, TokenEndpointBusy),
        (400, {"error": "invalid_request"}, PlatformRefused),
        (201, {"request_uri": ""}, PlatformRefused),
        (201, {"request_uri": ["a"]}, PlatformRefused),
        (201, {"request_uri": "u" * 513}, PlatformRefused),
        (201, {}, PlatformRefused),
        (302, {"request_uri": "urn:x"}, PlatformRefused),
    ],
)
def test_a_request_that_is_not_taken_sends_the_browser_nowhere(
    linking: Linking, monkeypatch: pytest.MonkeyPatch, status: int, told: dict[str, object], expected: type[Exception]
) -> None:
    linking.bank.pushes = True
    monkeypatch.setattr(linking.bank, "_push", lambda *_: httpx.Response(status, json=told))
    with pytest.raises(expected):
        linking.start(linking.bank, linking.sign_up("li"))


@pytest.mark.parametrize(
    "told",
    [
        {"pushed_authorization_request_endpoint": None},
        {"pushed_authorization_request_endpoint": "https://evil.example/par"},
        {"dpop_signing_alg_values_supported": ["PS256"]},
        {"token_endpoint_auth_methods_supported": ["client_secret_basic"]},
        {"code_challenge_methods_supported": "S256"},
    ],
)
def test_what_was_configured_and_is_not_offered_is_no_reason_to_do_with_less(
    linking: Linking, told: dict[str, object]
) -> None:
    bank = linking.secure(linking.bank)
    bank.metadata = told
    with pytest.raises(PlatformRefused):
        discover(linking.town, bank.config())


# Proofs and assertions.


def test_each_call_proves_the_key_and_the_servers_nonce_is_asked_for_once(linking: Linking) -> None:
    bank = linking.secure(linking.bank)
    link_id = linked(linking, bank)
    assert bank.paths() == ["/.well-known/oauth-authorization-server", "/token", "/token", "/userinfo"]
    assert [proof["nonce"] for proof in bank.proofs] == ["n-1", "n-1"]
    assert bank.bound_to == {load_proof_key(linking.ring, "bank").thumbprint}
    bank.calls.clear()
    assert renew(linking, link_id) is Refreshed.RENEWED
    assert bank.paths() == ["/.well-known/oauth-authorization-server", "/token"]  # the nonce is remembered
    bank.nonce = "n-2"
    bank.calls.clear()
    assert renew(linking, link_id, after=timedelta(hours=3)) is Refreshed.RENEWED
    assert bank.paths() == ["/.well-known/oauth-authorization-server", "/token", "/token"]


def test_a_server_that_never_likes_its_own_nonce_is_asked_twice_and_no_more(linking: Linking) -> None:
    bank = linking.secure(linking.bank)
    who = linking.sign_up("li")
    answer = bank.approve(linking.start(bank, who))
    bank.nonce = "never-enough\x7f"  # no proof may hold such a character
    assert linking.refusal(bank, who, answer) is LinkRefusal.TOKEN
    assert bank.paths().count("/token") == 1
    bank.token_status, bank.token_answer = 400, {"error": "use_dpop_nonce"}
    answer = bank.approve(linking.start(bank, who))
    bank.calls.clear()
    assert linking.refusal(bank, who, answer) is LinkRefusal.TOKEN
    assert bank.paths().count("/token") == 1


def test_every_platform_has_its_own_keys_and_none_serves_two_ends(linking: Linking) -> None:
    thumbprints = [load_proof_key(linking.ring, name).thumbprint for name in ("bank", "evil", "dpop-bank")]
    thumbprints += [load_client_key(linking.ring, name).thumbprint() for name in ("bank", "evil", "dpop-bank")]
    assert len(set(thumbprints)) == 6
    assert load_proof_key(linking.ring, "bank").thumbprint == thumbprints[0]
    files = [path for path in linking.ring.directory.iterdir() if path.name.startswith(("proof-", "client-"))]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_token_that_is_not_bound_to_the_key_is_not_taken(linking: Linking) -> None:
    bank = linking.secure(linking.bank)
    who = linking.sign_up("li")
    answer = bank.approve(linking.start(bank, who))
    bank.token_answer = {"token_type": "Bearer"}
    assert linking.refusal(bank, who, answer) is LinkRefusal.TOKEN


@pytest.mark.parametrize("told", [{"token_type": "BEARER"}, {"token_type": "Bearer"}, {"expires_in": None}])
def test_token_types_have_no_case_and_a_life_may_be_left_out(linking: Linking, told: dict[str, object]) -> None:
    linking.bank.token_answer = told
    link_id = linked(linking, linking.bank)
    assert access_token(linking, link_id)[0] == "at-0"


def test_an_assertion_is_addressed_to_the_issuer_alone_and_lives_a_minute(linking: Linking) -> None:
    linked(linking, linking.secure(linking.bank))
    assert len(linking.bank.assertions) == 3  # pushing, the token without and with the nonce
    for claims in linking.bank.assertions:
        assert claims["aud"] == "https://bank.example"
        assert 0 < claims["exp"] - claims["iat"] <= 60
    assert len({claims["jti"] for claims in linking.bank.assertions}) == 3


# Pinned endpoints.


@pytest.mark.parametrize(
    "told",
    [
        {"token_endpoint": "https://bank.example/token2"},
        {"revocation_endpoint": "https://bank.example/revoke2"},
        {"authorization_endpoint": "https://bank.example/authorize2"},
        {"userinfo_endpoint": "https://bank.example/userinfo2"},
        {"pushed_authorization_request_endpoint": "https://bank.example/par2"},
    ],
)
def test_another_endpoint_than_at_joining_is_refused_until_the_operator_agrees(
    linking: Linking, told: dict[str, object]
) -> None:
    config, ask = linking.bank.config(), partial(trusted_metadata, linking.transactions, linking.town, now=linking.now)
    first = ask(config)
    assert ask(config) == first
    linking.bank.metadata = told
    with pytest.raises(PlatformRefused, match="other endpoints"):
        ask(config)
    with writing(linking.engine) as session:
        assert pin_anew(session, config, discover(linking.town, config), now=linking.now)
        assert not pin_anew(session, config, discover(linking.town, config), now=linking.now)
    assert ask(config) != first
    linking.bank.metadata = {}
    with pytest.raises(PlatformRefused):
        ask(config)


def test_metadata_may_say_more_than_before_as_long_as_the_endpoints_stay(linking: Linking) -> None:
    ask = partial(trusted_metadata, linking.transactions, linking.town, linking.bank.config(), now=linking.now)
    ask()
    linking.bank.metadata = {"scopes_supported": ["a"], "require_pushed_authorization_requests": True}
    assert ask().demands_par


def test_a_participant_added_anew_under_another_issuer_is_pinned_anew(linking: Linking) -> None:
    config = linking.bank.config()
    trusted_metadata(linking.transactions, linking.town, config, now=linking.now)
    moved = linking.evil.config(platform="bank")
    trusted_metadata(linking.transactions, linking.town, moved, now=linking.now)
    with writing(linking.engine) as session:
        assert [(pin.platform, pin.issuer) for pin in session.scalars(select(PlatformPin))] == [
            ("bank", "https://evil.example")
        ]


# Renewals.


def test_a_token_that_was_refused_before_its_time_is_renewed_once(linking: Linking) -> None:
    link_id = linked(linking, linking.bank)
    _, version = access_token(linking, link_id)
    at_once = timedelta(0)
    assert renew(linking, link_id, after=at_once) is Refreshed.FRESH
    assert renew(linking, link_id, after=at_once, refused_version=version) is Refreshed.RENEWED
    assert renew(linking, link_id, after=at_once, refused_version=version) is Refreshed.FRESH  # another one did it
    assert linking.bank.refresh_count == 1


def lose_the_answer(linking: Linking, link_id: str) -> None:
    """The platform answered, and the process died before the answer was stored: the lease stays, the tokens too."""
    with writing(linking.engine) as session:
        old = session.get_one(Link, link_id)
        kept = {"token_sealed": old.token_sealed, "token_version": old.token_version}
    assert renew(linking, link_id) is Refreshed.RENEWED
    with writing(linking.engine) as session:
        lost = {**kept, "token_expires_at": linking.now, "lease_holder": "dead", "lease_until": linking.now}
        session.execute(update(Link).where(col(Link.link_id) == link_id).values(**lost))


@pytest.mark.parametrize(("rotates", "state"), [(False, LinkState.ACTIVE), (True, LinkState.BROKEN)])
def test_a_lost_answer_heals_or_the_person_is_told(linking: Linking, rotates: bool, state: LinkState) -> None:
    linking.bank.rotates = rotates
    link_id = linked(linking, linking.bank)
    lose_the_answer(linking, link_id)
    linking.told.clear()
    outcome = renew(linking, link_id)
    assert outcome is (Refreshed.BROKEN if rotates else Refreshed.RENEWED)
    with writing(linking.engine) as session:
        link = session.get_one(Link, link_id)
        assert (link.state, link.last_error) == (state, "refresh_refused" if rotates else None)
    assert [change.what for change in linking.told] == (["link.broken"] if rotates else [])


def test_a_refusal_of_a_token_that_is_not_the_links_any_more_breaks_nothing(linking: Linking) -> None:
    """Whoever was slower than its lease hears that its token is used up; the link has a newer one."""
    linking.bank.rotates = True
    link_id = linked(linking, linking.bank)
    fetch = linking.town.fetch

    def slow(url: str, **named: object) -> object:
        linking.town.fetch = fetch  # type: ignore[method-assign]
        with writing(linking.engine) as session:
            session.execute(update(Link).values(lease_until=linking.now))
        assert renew(linking, link_id) is Refreshed.RENEWED
        return fetch(url, **named)  # type: ignore[arg-type]

    linking.town.fetch = slow  # type: ignore[method-assign, assignment]
    assert renew(linking, link_id) is Refreshed.BUSY
    with writing(linking.engine) as session:
        assert session.get_one(Link, link_id).state == LinkState.ACTIVE
    assert access_token(linking, link_id)[0] == "at-1"
