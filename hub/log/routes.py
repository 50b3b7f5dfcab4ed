"""The log over HTTP: the checkpoint and the static resources below it. I/O: HTTP, the database.

Source: C2SP tlog-tiles (paths, content types); whatever stands at a tile's path never changes, so it may be kept.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.params import Depends
from sqlalchemy import Engine

from hub.db import reading
from hub.log.store import load_checkpoint, load_resource
from hub.log.tiles import parse_path

_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
# A checkpoint may be a few seconds old, not more: a reader who has just been given a receipt looks for it.
_FRESH = {"Cache-Control": "no-cache"}


def build_log_router(engine: Engine, *, entry_dependencies: Sequence[Depends] = ()) -> APIRouter:
    """Return the routes /log/checkpoint, /log/tile/{L}/{N} and /log/tile/entries/{N}, partial ones included.

    Args:
        entry_dependencies: who may read entries, if not everybody; hashes and checkpoint are always open.
    """
    router = APIRouter(prefix="/log", tags=["log"])

    @router.get("/checkpoint", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def read_checkpoint() -> Response:
        """Return the newest signed checkpoint."""
        with reading(engine) as session:
            checkpoint = load_checkpoint(session)
        if checkpoint is None:
            raise HTTPException(404, "the log has no checkpoint yet", headers=_FRESH)
        return Response(checkpoint, media_type="text/plain; charset=utf-8", headers=_FRESH)

    octets: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}

    @router.get(
        "/tile/entries/{number:path}", response_class=Response, responses=octets, dependencies=entry_dependencies
    )
    def read_entries(number: str) -> Response:
        """Return an entry bundle, e.g. `x001/x234/067` or `273.p/112`."""
        return _serve(engine, f"tile/entries/{number}")

    @router.get("/tile/{level}/{number:path}", response_class=Response, responses=octets)
    def read_tile(level: str, number: str) -> Response:
        """Return a tile of hashes."""
        return _serve(engine, f"tile/{level}/{number}")

    return router


def _serve(engine: Engine, path: str) -> Response:
    # Not there is not for ever: the log grows, so the answer must not be kept.
    absent = HTTPException(404, "the log has no such tile", headers=_FRESH)
    if (parsed := parse_path(path)) is None:
        raise absent
    with reading(engine) as session:
        data = load_resource(session, parsed)
    if data is None:
        raise absent
    return Response(data, media_type="application/octet-stream", headers=_IMMUTABLE)
