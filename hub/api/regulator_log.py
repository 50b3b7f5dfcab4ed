"""The log for regulators: searched, exported, paired, measured. I/O: HTTP, the database.

Access by a regulator's software (hub/api/regulators.py). What is shown is what stands in the log for everybody: codes,
figures and commitments; no address here leads to a person. Every request leaves a leaf before it is answered.
"""

import tempfile
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path as Folder
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.regulators import enter_regulator
from hub.api.writes import problem
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.exchange.exporting import FileFormat, export_entries
from hub.exchange.measures import load_measures
from hub.exchange.search import MOST_A_PAGE, Filters, search
from hub.exchange.sides import Period, log_pairing, pair_with, to_document
from hub.staff.rights import What

MOST_EXPORTED = 1_000_000
APART = timedelta(minutes=5)
LINES = "application/x-ndjson"
_CHUNK = 1 << 20
_FILTERS = frozenset({"participant", "kind", "purpose", "outcome", "window", "batch", "since", "until"})
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: problem("no token, a dead one, or no proof of its key"),
    403: problem("the token lacks the scope regulator, or its client is of no regulator"),
    404: problem("the log has no checkpoint yet, or there is no such participant"),
    422: problem("a filter, cursor or line that is none; `title` says which and never what stood there"),
}


def asked(
    request: Request,
    participant: Annotated[str | None, Query(max_length=64, description="whose exchange")] = None,
    kind: Annotated[str | None, Query(max_length=40, description="kind of leaf, as `batch.received`")] = None,
    purpose: Annotated[str | None, Query(max_length=40, description="what it was for, as `collect`")] = None,
    outcome: Annotated[str | None, Query(max_length=40, description="what came of it, as `refused`")] = None,
    window: Annotated[int | None, Query(ge=0, lt=2**31, description="clearing window")] = None,
    batch: Annotated[int | None, Query(ge=0, lt=2**63, description="batch of records")] = None,
    since: Annotated[datetime | None, Query(description="from this time on, RFC 3339 with a zone")] = None,
    until: Annotated[datetime | None, Query(description="before this time")] = None,
) -> Filters:
    """Read the filters; a name that is none, or that is there twice, is refused: it would search for something else."""
    given = [name for name, _ in request.query_params.multi_items()]
    if strange := sorted(set(given) - _FILTERS - {"cursor", "limit", "format"}):
        raise UsageProblem(
            f"there is no filter of one of the {len(strange)} names given; see {', '.join(sorted(_FILTERS))}"
        )
    if len(given) != len(set(given)):
        raise UsageProblem("a filter is given twice")
    return Filters(
        participant=participant, kind=kind, purpose=purpose, outcome=outcome, window=window, batch=batch, since=since,
        until=until,
    )  # fmt: skip


Asked = Annotated[Filters, Depends(asked)]


def regulator_log_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1/regulator", tags=["regulators"])

    @router.get("/log", responses=_PROBLEMS)
    def entries(
        request: Request,
        filters: Asked,
        cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE)] = 100,
    ) -> dict[str, Any]:
        """Find entries of the log, newest first; `size` is of the signed log that was searched, `next` leads on."""
        enter_regulator(hub, gate, gate.call(request), What.LOG_SEARCHED, about=filters.told())
        with reading(hub.engine) as session:
            page = search(session, filters, cursor=cursor, limit=limit)
        return {"size": page.size, "entries": [one.to_dict() for one in page.entries], "next": page.next}

    @router.get("/log/export", responses=_PROBLEMS, response_class=StreamingResponse)
    def export(
        request: Request,
        filters: Asked,
        form: Annotated[FileFormat, Query(alias="format")] = FileFormat.NDJSON,
    ) -> StreamingResponse:
        """Give what fits the filters as a ZIP file: the entries and a manifest with digests and the checkpoint."""
        about = {**filters.told(), "format": str(form)}
        enter_regulator(hub, gate, gate.call(request), What.LOG_EXPORTED, about=about)
        return _zipped(hub, filters, form)

    @router.post("/log/pairs/{participant}", responses=_PROBLEMS, openapi_extra=_described())
    async def pairs(
        request: Request,
        participant: Annotated[str, Path(max_length=64)],
        window: Annotated[int | None, Query(ge=0, lt=2**31, description="only messages of this window")] = None,
        since: Annotated[datetime | None, Query(description="only messages from this time on")] = None,
        until: Annotated[datetime | None, Query(description="only messages before this time")] = None,
    ) -> dict[str, Any]:
        """Pair a platform's own record of its messages with the hub's: pairs, orphans of each side, what differs."""
        call = gate.call(request)
        body = await read_bounded(request, hub.settings.max_statement_bytes)
        period = Period(window=window, since=since, until=until)
        return await run_in_threadpool(_pair, hub, gate, call, participant, body, period)

    @router.get("/metrics", responses=_PROBLEMS)
    def metrics(
        request: Request,
        hours: Annotated[int, Query(ge=1, le=24 * 31, description="how far back requests are counted")] = 24,
    ) -> dict[str, Any]:
        """Tell how exchange goes: requests, times, rejections, completeness and lateness of streams, breaks, lag."""
        enter_regulator(hub, gate, gate.call(request), What.LOG_MEASURED, about={"hours": str(hours)})
        with reading(hub.engine) as session:
            return load_measures(session, hub.clock(), hours=hours, window_length=hub.settings.window_length).to_dict()

    return router


def _pair(hub: Hub, gate: Gate, call: ApiCall, participant: str, body: bytes, period: Period) -> dict[str, Any]:
    about = {"participant": participant[:64]}
    access = enter_regulator(hub, gate, call, What.LOG_PAIRED, about=about)
    paired = pair_with(hub, participant, body, period, apart=APART)
    with writing(hub.engine) as session:
        log_pairing(session, participant, body, paired, access.at)
    return to_document(participant, paired)


def _zipped(hub: Hub, filters: Filters, form: FileFormat) -> StreamingResponse:
    folder = tempfile.TemporaryDirectory(prefix="tanlian-export-")
    try:
        written = export_entries(
            hub.engine, Folder(folder.name), filters, form, origin=hub.settings.log_origin, now=hub.clock(),
            most=MOST_EXPORTED,
        )  # fmt: skip
        packed = Folder(folder.name) / "export.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for one in (written.data, written.manifest):
                file.write(one, one.name)
    except BaseException:
        folder.cleanup()
        raise
    headers = {"content-disposition": 'attachment; filename="tanlian-log-entries.zip"'}
    return StreamingResponse(
        _read(packed), media_type="application/zip", headers=headers, background=BackgroundTask(folder.cleanup)
    )


def _read(file: Folder) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while part := opened.read(_CHUNK):
            yield part


def _described() -> dict[str, Any]:
    line = {"type": "string", "description": "a message on each line: message_id, at, stream, rows, digest, outcome"}
    return {"requestBody": {"required": True, "content": {LINES: {"schema": line}}}}
