"""The token endpoint under load: private_key_jwt and DPoP, every request authentic and unique, the store durable.

Beside it, in turns within one run: a FastAPI application that only says hello, and, where its folder is named, a certified
authorization server in Node that keeps all in memory. I/O: processes, network, files below a temporary folder.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import ECKey

from consent.authorize import Decision, approve
from consent.clients import register_client
from consent.people import add_person
from consent.pushed import load_pushed
from consent.requests import FORM, Posted
from consent.server import answer_form
from consent.terms import Assurance, Sensitive
from hub.authority import authority_of
from hub.bench.http_load import Load, format_request, send_all
from hub.context import Hub, open_hub
from hub.db import writing
from hub.errors import UsageProblem
from hub.migrate import prepare
from hub.settings import Settings

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ADDRESS = "https://client.example/callback"
START_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFigure:
    """Rates of both flows and of what stands beside them, each the median of its rounds."""

    flow: str
    requests: int
    rounds: int
    connections: int
    ours: dict[str, Any]
    hello: dict[str, Any]
    ratio_to_hello: float
    peer: dict[str, Any] | None
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered client with its keys, as one server knows it."""

    client_id: str
    issuer: str
    token_url: str
    key: ECKey
    proof_key: ECKey
    scope: str | None
    nonce: str | None

    def assertion(self) -> str:
        """Sign who we are, once."""
        now = int(time.time())
        claims = {
            "iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "iat": now, "exp": now + 120,
            "jti": secrets.token_urlsafe(16),
        }  # fmt: skip
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.key)

    def proof(self) -> str:
        """Prove our key, once."""
        claims = {"jti": secrets.token_urlsafe(16), "htm": "POST", "htu": self.token_url, "iat": int(time.time())}
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": self.proof_key.as_dict(private=False)}
        return jwt.encode(header, claims | ({"nonce": self.nonce} if self.nonce else {}), self.proof_key)

    def request(self, form: dict[str, str]) -> bytes:
        """One token request, ready to be sent."""
        who = {
            "client_id": self.client_id, "client_assertion_type": ASSERTION, "client_assertion": self.assertion(),
        }  # fmt: skip
        headers = {"content-type": FORM, "dpop": self.proof()}
        return format_request(self.token_url, headers=headers, body=urlencode({**who, **form}).encode())


def measure_tokens(
    folder: Path,
    *,
    flow: str,
    requests: int,
    rounds: int,
    connections: int,
    peer: Path | None,
    database_url: str | None,
) -> TokenFigure:
    """Measure one flow: `client_credentials`, or `authorization_code` with codes that a person's consent made."""
    settings = Settings(
        database_url=database_url or f"sqlite:///{folder}/hub.db", keys_dir=folder / "keys", issuer=_free_address()
    )
    hub = open_hub(settings)
    prepare(hub.engine, hub.clock())
    with ExitStack() as stack:
        stack.callback(hub.engine.dispose)
        stack.enter_context(_served_hub(settings, folder))
        hello = stack.enter_context(_served_hello())
        ours, subject_id = _our_client(hub)
        theirs = stack.enter_context(_served_peer(peer, folder)) if peer and flow == "client_credentials" else None
        loads: dict[str, list[Load]] = {"ours": [], "hello": [], "peer": []}
        for place in range(rounds + 1):
            for name, made, origin in _sides(hub, flow, requests, (ours, subject_id), hello, theirs):
                load = send_all(origin, made(), connections=connections)
                if not load.good:
                    raise UsageProblem(f"{name} did not answer every request well: {load.statuses}")
                if place:  # the first round warms every side up
                    loads[name].append(load)
    rates = {name: median(one.rate_per_s for one in found) for name, found in loads.items() if found}
    return TokenFigure(
        flow=flow, requests=requests, rounds=rounds, connections=connections, ours=_best(loads["ours"]),
        hello=_best(loads["hello"]), ratio_to_hello=round(rates["ours"] / rates["hello"], 3),
        peer=_best(loads["peer"]) if loads["peer"] else None,
        ratio=round(rates["ours"] / rates["peer"], 3) if loads["peer"] else None,
    )  # fmt: skip


def _sides(
    hub: Hub, flow: str, requests: int, own: tuple[Client, int], hello: str, theirs: Client | None
) -> Iterator[tuple[str, Callable[[], list[bytes]], str]]:
    ours, subject_id = own

    def redeem() -> list[bytes]:
        # Begun anew in every round: proofs and nonces grow old.
        client = _with_nonce(hub, ours)
        return [client.request(form) for form in _codes(hub, client, subject_id, requests)]

    def ask(client: Client) -> list[bytes]:
        form = {"grant_type": "client_credentials"} | ({"scope": client.scope} if client.scope else {})
        return [client.request(form) for _ in range(requests)]

    made = redeem if flow == "authorization_code" else lambda: ask(_with_nonce(hub, ours))
    yield "ours", made, ours.issuer
    yield "hello", lambda: [format_request(hello, method="GET")] * requests, hello
    if theirs is not None:
        yield "peer", lambda: ask(theirs), theirs.issuer


def _our_client(hub: Hub) -> tuple[Client, int]:
    key = ECKey.generate_key("P-256", {"kid": "bench"})
    metadata = {
        "client_name": "bench", "scope": "records:write account:read", "redirect_uris": [ADDRESS],
        "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
        "jwks": {"keys": [key.as_dict(private=False)]},
    }  # fmt: skip
    with writing(hub.engine) as session:
        told = register_client(session, metadata, participant=None, now=hub.clock())
        name = f"bench-{secrets.token_hex(8)}"
        person = add_person(session, hub.ring, username=name, password=None, display_name=name, now=hub.clock())
        subject_id = person.subject_id
    client = Client(
        client_id=told["client_id"], issuer=hub.settings.issuer, token_url=f"{hub.settings.issuer}/oauth/token",
        key=key, proof_key=ECKey.generate_key("P-256"), scope="records:write", nonce=None,
    )  # fmt: skip
    return client, subject_id


def _with_nonce(hub: Hub, client: Client) -> Client:
    return replace(client, nonce=authority_of(hub).nonces.current(hub.clock()))


def _codes(hub: Hub, client: Client, subject_id: int, count: int) -> list[dict[str, str]]:
    """Codes that a consent made, in the way of the real endpoints: pushed, approved, each with its verifier."""
    authority, forms = authority_of(hub), []
    for _ in range(count):
        verifier, now = secrets.token_urlsafe(32), hub.clock()
        pushed_form = {
            "client_id": client.client_id, "client_assertion_type": ASSERTION, "client_assertion": client.assertion(),
            "response_type": "code", "redirect_uri": ADDRESS, "scope": "account:read", "code_challenge_method": "S256",
            "code_challenge": create_s256_code_challenge(verifier),
        }  # fmt: skip
        with writing(hub.engine) as session:
            posted = Posted(path="/oauth/par", content_type=FORM, body=urlencode(pushed_form).encode())
            name = json.loads(answer_form(session, authority, posted, now).body)["request_uri"]
            pushed = load_pushed(session, client_id=client.client_id, request_uri=name, now=now)
            if pushed is None:
                raise UsageProblem("the pushed request was not found again")
            decision = Decision(
                subject_id=subject_id, assurance=Assurance.PASSWORD, notice_version="bench", language="en",
                agreed=frozenset(Sensitive), chosen=frozenset({0}),
            )  # fmt: skip
            address, _ = approve(session, pushed, decision, issuer=authority.issuer, now=now)
        code = dict(parse_qsl(urlsplit(address).query))["code"]
        forms.append(
            {"grant_type": "authorization_code", "code": code, "redirect_uri": ADDRESS, "code_verifier": verifier}
        )
    return forms


def _best(loads: list[Load]) -> dict[str, Any]:
    """The median round, as it is told."""
    ordered = sorted(loads, key=lambda one: one.rate_per_s)
    told = asdict(ordered[len(ordered) // 2])
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in told.items()}


def _free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def _process(command: list[str], environment: dict[str, str], ready: str, folder: Path) -> Iterator[None]:
    """Run a server until its address answers, and end it afterwards."""
    with (folder / "servers.log").open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise UsageProblem(f"{Path(command[0]).name} did not start; see {folder / 'servers.log'}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def _served_hub(settings: Settings, folder: Path) -> Iterator[None]:
    environment = {
        "TANLIAN_DATABASE_URL": settings.database_url, "TANLIAN_KEYS_DIR": str(settings.keys_dir),
        "TANLIAN_ISSUER": settings.issuer, "TANLIAN_PORT": settings.issuer.rpartition(":")[2],
    }  # fmt: skip
    command = [sys.executable, "-c", "from hub.cli import main; main()", "serve"]
    with _process(command, environment, f"{settings.issuer}/healthz", folder):
        yield


@contextmanager
def _served_hello() -> Iterator[str]:
    """The floor of the framework: one process that answers a constant."""
    address = _free_address()
    program = (
        "import sys, uvicorn; from fastapi import FastAPI; app = FastAPI()\n"
        "@app.get('/hello')\nasync def hello() -> dict[str, str]: return {'hello': 'world'}\n"
        "uvicorn.run(app, host='127.0.0.1', port=int(sys.argv[1]), access_log=False, log_level='warning')"
    )
    command = [sys.executable, "-c", program, address.rpartition(":")[2]]
    with TemporaryDirectory() as folder, _process(command, {}, f"{address}/hello", Path(folder)):
        yield f"{address}/hello"


@contextmanager
def _served_peer(kit: Path, folder: Path) -> Iterator[Client]:
    """The certified server of a kit folder with `peer.mjs`, which is started with node."""
    key, address = ECKey.generate_key("P-256", {"kid": "bench", "alg": "ES256", "use": "sig"}), _free_address()
    file = folder / "peer-client.json"
    document = {"client_id": "bench", "redirect_uri": ADDRESS, "jwks": {"keys": [key.as_dict(private=True)]}}
    file.write_text(json.dumps(document), encoding="utf-8")
    environment = {
        "PORT": address.rpartition(":")[2], "CLIENT_FILE": str(file), "USERNAME_": "bench", "PASSWORD_": "bench",
    }  # fmt: skip
    metadata = f"{address}/.well-known/oauth-authorization-server"
    with _process(["node", str(kit.resolve() / "peer.mjs")], environment, metadata, folder):
        told = httpx.get(metadata, timeout=5).json()
        yield Client(
            client_id="bench", issuer=told["issuer"], token_url=told["token_endpoint"], key=key,
            proof_key=ECKey.generate_key("P-256"), scope=None, nonce=None,
        )  # fmt: skip
