"""The log over HTTP: what is served, as what, for how long, and to whom."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import Engine

from hub.log.note import LogSigner
from hub.log.routes import build_log_router
from hub.log.sequencer import Sequencer
from hub.log.tiles import decode_bundle
from hub.log.verify import verify_log


class Client:
    """Asks the application itself, without a network."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="https://hub.example", timeout=60) as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def client(engine: Engine) -> Client:
    app = FastAPI()
    app.include_router(build_log_router(engine))
    return Client(app)


def test_the_log_is_verified_over_http(
    client: Client, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, now: datetime
) -> None:
    append(300)
    seen = sequencer.run_once(now).checkpoint
    append(400)
    sequencer.run_once(now)

    def fetch(path: str) -> bytes | None:
        answer = client.get(f"/log/{path}")
        return answer.content if answer.status_code == 200 else None

    report = verify_log(fetch, signer.vkey, seen=seen)
    assert report.fault is None
    assert report.size == 700


def test_each_resource_has_its_type_and_its_time_to_keep(
    client: Client, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(300)
    checkpoint = sequencer.run_once(now).checkpoint
    answer = client.get("/log/checkpoint")
    assert answer.content == checkpoint
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    for path in ("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"):
        answer = client.get(f"/log/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_partial_resources_of_every_older_size_stay_readable(
    client: Client, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(300)
    sequencer.run_once(now)
    full = client.get("/log/tile/0/000").content
    entries = decode_bundle(client.get("/log/tile/entries/000").content)
    for width in (1, 7, 255):
        assert client.get(f"/log/tile/0/000.p/{width}").content == full[: 32 * width]
        assert decode_bundle(client.get(f"/log/tile/entries/000.p/{width}").content) == entries[:width]


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/001", "tile/0/001.p/45", "tile/0/002", "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1", "tile/64/000",
        "tile/0/0", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/x000/000", "tile/entries/001",
        "tile/entries/001.p/45", "tile/entries/002", "tile/data/000", "tile/entries/..%2f..%2fcheckpoint",
        "tile/0/x999/x999/x999/x999/x999/x999/999", "tile/entries/x999/x999/x999/x999/x999/x999/999",
    ],
)  # fmt: skip
def test_what_the_log_does_not_have_is_not_found_and_not_kept(
    client: Client, append: Callable[..., None], sequencer: Sequencer, now: datetime, path: str
) -> None:
    append(300)
    sequencer.run_once(now)
    answer = client.get(f"/log/{path}")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-cache"


def test_a_log_that_was_never_signed_has_no_checkpoint(client: Client, append: Callable[..., None]) -> None:
    append(3)
    assert client.get("/log/checkpoint").status_code == 404
    assert client.get("/log/tile/entries/000.p/3").status_code == 404
    assert client.get("/log/tile/0/000.p/3").status_code == 404


def test_entries_can_be_kept_for_those_who_may_read_them(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    def refuse() -> None:
        raise HTTPException(403, "not yours")

    app = FastAPI()
    app.include_router(build_log_router(engine, entry_dependencies=[Depends(refuse)]))
    append(3)
    sequencer.run_once(now)
    client = Client(app)
    assert client.get("/log/tile/0/000.p/3").status_code == 200
    for path in ("entries/000.p/3", "%65ntries/000.p/3", "entries//000.p/3"):
        assert client.get(f"/log/tile/{path}").status_code == 403
    assert client.get("/log/tile//entries/000.p/3").status_code == 404


def test_entries_are_compressed_for_who_takes_it_and_hashes_never(
    client: Client, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(300)
    sequencer.run_once(now)
    plain = client.get("/log/tile/entries/000", {"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for asks in ("gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1", "GZIP"):
        packed = client.get("/log/tile/entries/000", {"accept-encoding": asks})
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
        assert packed.content == plain.content  # the client unpacks it
        assert int(packed.headers["content-length"]) < len(plain.content)
        assert packed.headers["cache-control"] == plain.headers["cache-control"]
    for asks in ("", "br", "gzip;q=0", "gzip; q=0.000"):
        assert "content-encoding" not in client.get("/log/tile/entries/000", {"accept-encoding": asks}).headers
    assert "content-encoding" not in client.get("/log/tile/0/000", {"accept-encoding": "gzip"}).headers


def test_a_checkpoint_that_the_reader_has_is_not_sent_again(
    client: Client, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    first = client.get("/log/checkpoint")
    again = client.get("/log/checkpoint", {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "no-cache")
    append(1)
    sequencer.run_once(now)
    newer = client.get("/log/checkpoint", {"if-none-match": first.headers["etag"]})
    assert newer.status_code == 200
    assert newer.headers["etag"] != first.headers["etag"]


def test_any_page_may_read_the_log_and_its_head_can_be_asked_alone(
    client: Client, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    for path in ("checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"):
        answer, head = client.get(f"/log/{path}"), client.get(f"/log/{path}", method="HEAD")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert (head.status_code, head.headers["content-length"]) == (200, answer.headers["content-length"])
    assert client.get("/log/tile/0/001").headers["access-control-allow-origin"] == "*"
    assert client.get("/log/tile/0/001", method="HEAD").status_code == 404
