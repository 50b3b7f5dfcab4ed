"""The log over HTTP: the checkpoint and the static resources below it. I/O: HTTP, the database.

Source: C2SP tlog-tiles (paths, content types, compression); whatever stands at a tile's path never changes, so it may be
kept. A page of anybody's may fetch what is public for everybody, so a verifier can be a web page.
"""

import gzip
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.params import Depends
from sqlalchemy import Engine

from hub.db import reading
from hub.log.cosigned import load_served_checkpoint
from hub.log.store import load_resource
from hub.log.tiles import ENTRIES, parse_path

_FOR_ALL = {"access-control-allow-origin": "*"}
_IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable", **_FOR_ALL}
# A checkpoint may be a few seconds old, not more: a reader who has just been given a receipt looks for it.
_FRESH = {"cache-control": "no-cache", **_FOR_ALL}
_GZIP_LEVEL = 6


def build_log_router(engine: Engine, *, entry_dependencies: Sequence[Depends] = ()) -> APIRouter:
    """Return the routes /log/checkpoint, /log/tile/{L}/{N} and /log/tile/entries/{N}, partial ones included.

    Args:
        entry_dependencies: who may read entries, if not everybody; hashes and checkpoint are always open.
    """
    router = APIRouter(prefix="/log", tags=["log"])

    @router.head("/checkpoint", include_in_schema=False)
    @router.get("/checkpoint", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def read_checkpoint(request: Request) -> Response:
        """Return the newest signed checkpoint, with the cosignatures of witnesses that there are by now."""
        with reading(engine) as session:
            checkpoint = load_served_checkpoint(session)
        if checkpoint is None:
            raise HTTPException(404, "the log has no checkpoint yet", headers=_FRESH)
        headers = _FRESH | {"etag": f'"{sha256(checkpoint).hexdigest()}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(checkpoint, media_type="text/plain; charset=utf-8", headers=headers)

    octets: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}

    @router.head("/tile/entries/{number:path}", include_in_schema=False, dependencies=entry_dependencies)
    @router.get(
        "/tile/entries/{number:path}", response_class=Response, responses=octets, dependencies=entry_dependencies
    )
    def read_entries(request: Request, number: str) -> Response:
        """Return an entry bundle, e.g. `x001/x234/067` or `273.p/112`, compressed for who takes gzip."""
        return _serve(engine, f"tile/entries/{number}", takes_gzip=_takes_gzip(request))

    @router.head("/tile/{level}/{number:path}", include_in_schema=False)
    @router.get("/tile/{level}/{number:path}", response_class=Response, responses=octets)
    def read_tile(level: str, number: str) -> Response:
        """Return a tile of hashes, which no compression makes shorter."""
        return _serve(engine, f"tile/{level}/{number}", takes_gzip=False)

    return router


def _serve(engine: Engine, path: str, *, takes_gzip: bool) -> Response:
    # Not there is not for ever: the log grows, so the answer must not be kept.
    absent = HTTPException(404, "the log has no such tile", headers=_FRESH)
    if (parsed := parse_path(path)) is None:
        raise absent
    with reading(engine) as session:
        data = load_resource(session, parsed)
    if data is None:
        raise absent
    headers = dict(_IMMUTABLE)
    if parsed.level == ENTRIES:
        headers["vary"] = "accept-encoding"
        if takes_gzip:
            headers["content-encoding"] = "gzip"
            data = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    return Response(data, media_type="application/octet-stream", headers=headers)


def _takes_gzip(request: Request) -> bool:
    """Tell whether the reader names gzip and does not refuse it (RFC 9110 section 12.5.3)."""
    for choice in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, quality = choice.partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
