"""A write at a door: read within a bound, parsed strictly, done once under the caller's key. I/O: HTTP, the database."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from connectors.strict_json import MalformedJsonError, parse_object
from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.repeats import Write, answer_once, parse_write
from hub.context import Hub
from hub.db import writing
from hub.errors import UsageProblem
from hub.participants import require_active
from hub.records.races import try_again

MOST_BYTES = 4_096
Form = TypeVar("Form", bound=BaseModel)
About = TypeVar("About")
Answer = tuple[int, dict[str, Any]]
"""Status and body."""


class Body(BaseModel):
    """A body: members of its own only, each of its own kind."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Nothing(Body):
    """An empty object."""


@dataclass(frozen=True, slots=True)
class Entered(Generic[About]):
    """Who was let in: the client, whose keys name its writes, its participant, and what the door has to know besides."""

    client_id: str
    participant: str
    about: About


async def write_once(
    hub: Hub,
    gate: Gate,
    request: Request,
    form: type[Form],
    enter: Callable[[Gate, ApiCall], Entered[About]],
    act: Callable[[Session, Entered[About], Form], Answer],
    *,
    most_bytes: int = MOST_BYTES,
) -> JSONResponse:
    """Do a write of an active participant, or give the answer that it had under this key.

    Of two transactions that wait for each other the database ends one; that one is run again.

    Args:
        enter: asks for the token that this door needs. act: does it in the transaction that keeps the answer.
    """
    call = gate.call(request)
    body = await read_bounded(request, min(most_bytes, hub.settings.max_body_bytes))
    write = parse_write(request, body)
    return await run_in_threadpool(_write_once, hub, gate, call, write, form, body, enter, act)


def _write_once(
    hub: Hub,
    gate: Gate,
    call: ApiCall,
    write: Write,
    form: type[Form],
    body: bytes,
    enter: Callable[[Gate, ApiCall], Entered[About]],
    act: Callable[[Session, Entered[About], Form], Answer],
) -> JSONResponse:
    entered = enter(gate, call)
    told = parse_body(form, body)

    def once() -> Answer:
        with writing(hub.engine) as session:
            require_active(session, entered.participant)
            return answer_once(session, entered.client_id, write, hub.clock(), lambda: act(session, entered, told))

    status, answer = try_again(once)
    return JSONResponse(answer, status)


def parse_body(form: type[Form], body: bytes) -> Form:
    """Return the body in its form; no body is an empty object. Raises UsageProblem, which names the member."""
    try:
        return form.model_validate(parse_object(body or b"{}"))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the body is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"the body is not of the agreed form ({where}: {first['msg']})") from None


def described(form: type[BaseModel]) -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys, unbounded."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}


def problem(what: str) -> dict[str, Any]:
    """Describe an error answer."""
    return {"description": what, "content": {"application/problem+json": {}}}
