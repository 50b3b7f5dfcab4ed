"""Errors as RFC 9457 problem details, with a stable `type` and never a word of what was sent. I/O: HTTP.

A browser is shown a page with the same sentence. FastAPI's own error bodies are of another form, and its answer to a
wrong body repeats that body; NaN in it would even turn the refusal into a failure of ours.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hub.api.bodies import BodyTooLarge
from hub.errors import Busy, Conflict, NotAdmitted, NotFound, TanlianError, UsageProblem
from hub.exchange.counting import note_reason
from hub.log.watch import LogLagging
from hub.portal.browser import page

# In order: the first kind that fits decides.
KINDS: tuple[tuple[type[TanlianError], int, str], ...] = (
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (UsageProblem, 422, "usage_problem"),
    (NotAdmitted, 403, "forbidden"),
    (LogLagging, 503, "log_behind"),
    (Busy, 503, "busy"),
    (BodyTooLarge, 413, "message_too_large"),
)


def tell_problems(app: FastAPI, always: Mapping[str, str]) -> None:
    """Let every failure of the application be told as a problem.

    Args:
        always: headers of the answer to a bug, which no middleware sees any more.
    """

    def bug(request: Request, _error: Exception) -> Response:
        title = "The hub made a mistake; nothing was changed by this request."
        return _told(request, 500, "error", title, headers={**always, "cache-control": "no-store"})

    app.add_exception_handler(TanlianError, _world)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(Exception, bug)


def wrong_fields(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Say where a request is wrong and why, without what stood there."""
    return [{"at": ".".join(str(part) for part in error["loc"]), "problem": str(error["msg"])} for error in errors[:20]]


def _world(request: Request, error: Exception) -> Response:
    for kind, status, reason in KINDS:
        if isinstance(error, kind):
            wait = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else None
            return _told(request, status, reason, str(error), headers=wait)
    return _told(request, 500, "error", str(error))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    reason = re.sub(r"[^a-z]+", "_", HTTPStatus(error.status_code).phrase.lower())
    return _told(request, error.status_code, reason, str(error.detail), headers=error.headers)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    title = "The request is not of the agreed form."
    return _told(request, 422, "invalid_request", title, errors=wrong_fields(error.errors()))


def _told(
    request: Request, status: int, reason: str, title: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    note_reason(reason)
    if "text/html" in request.headers.get("accept", ""):
        told = {"heading": "That did not work", "message": title, "back": "/", "back_text": "Back"}
        return page("message.html", status=status, headers=headers, signed_in=False, **told)
    body = {"type": f"urn:tanlian:problem:{reason}", "title": title, "status": status, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")
