"""The standards for everybody: documents, figures, methodologies, and what an act is worth. I/O: HTTP.

Public and read-only, without sign-in. What is served is built once from the data that the hub values with, and may be
kept: every answer has an ETag, and who shows it again is told that nothing changed.
"""

import json
import re
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from hub.context import Hub
from hub.errors import NotFound
from hub.portal.browser import render
from standards.behaviours import accepted_behaviours, load_behaviours
from standards.choice import format_grams
from standards.documents.catalogue import ARROW, CSV, JSON, JSON_SCHEMA, MARKDOWN, load_documents
from standards.documents.lists import SUPPORT
from standards.documents.methodologies import methodology_form
from standards.explain import Act, NotValuedError, explain
from standards.factors import load_factors, load_sources
from standards.methodology import load_methodology, methodology_versions
from standards.rates import day_of
from standards.regions import RegionError, check_region, load_regions
from standards.schema import Role
from standards.units import UnitError, parse_decimal_micro

# The data changes with a release of the hub only; an hour is how long an old figure may be shown after one.
KEPT = "public, max-age=3600"
# Without a day the answer is today's, so it is asked again each time.
OF_TODAY = "public, no-cache"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CODE = re.compile(r"[1-9][0-9]{5}", re.ASCII)
Responses = dict[int | str, dict[str, Any]]
_SAME: Responses = {304: {"description": "not changed since the ETag that was shown"}}
_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}
_WRONG: Responses = {422: {"description": "a parameter is wrong; `valid` lists what it may be", "content": _PROBLEM}}
_UNKNOWN: Responses = {
    404: {"description": "there is no such thing; the problem lists what there is", "content": _PROBLEM}
}
_PAGE: Responses = {200: {"content": {"text/html": {}}}}
_FILE: Responses = {200: {"content": {kind.split(";")[0]: {} for kind in (ARROW, CSV, JSON, JSON_SCHEMA, MARKDOWN)}}}


class _WrongError(ValueError):
    """A parameter that cannot be, with the values that can."""

    def __init__(self, parameter: str, title: str, valid: Iterable[object], *, status: int = 422) -> None:
        super().__init__(title)
        self.parameter, self.title, self.valid, self.status = parameter, title, list(valid), status


def _parameter(about: str, values: Iterable[str] = ()) -> Any:
    return Query(description=about, json_schema_extra={"enum": list(values)} if values else None)


def standards_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(tags=["standards"])

    @router.get("/standards", response_class=Response, responses={**_PAGE, **_SAME})
    def listing(request: Request) -> Response:
        """Show the documents."""
        return _answer(request, _page(), "text/html; charset=utf-8", KEPT)

    @router.get("/standards/{name}", response_class=Response, responses={**_FILE, **_SAME, **_UNKNOWN})
    def document(request: Request, name: Annotated[str, Path(description="a file, such as factors.csv")]) -> Response:
        """Give one document."""
        found = load_documents().get(name)
        if found is None:
            raise NotFound(f"there is no such document; there are {', '.join(load_documents())}")
        return _answer(request, found.content, found.media_type, KEPT)

    _add_tables(router)
    _add_explain(router, hub)
    return router


def _add_tables(router: APIRouter) -> None:
    @router.get("/v1/standards/behaviours", responses={**_SAME, **_WRONG})
    def behaviours(request: Request) -> Response:
        """Give the behaviour list."""
        return _tell(request, (), _behaviours)

    @router.get("/v1/standards/factors", responses={**_SAME, **_WRONG})
    def factors(
        request: Request,
        behaviour: Annotated[str | None, _parameter("a code, such as MOB-BIKE", load_behaviours())] = None,
    ) -> Response:
        """Give every published figure with its source, of one behaviour or of all; grams are decimal text."""
        return _tell(request, ("behaviour",), lambda: _factors(behaviour))

    @router.get("/v1/standards/methodologies/{version}", responses={**_SAME, **_UNKNOWN})
    def methodology(request: Request, version: Annotated[str, Path(description="such as hub-2026.2")]) -> Response:
        """Give a version of the methodology: rules, methods, every figure, worked examples."""
        return _tell(request, (), lambda: _methodology(version))


def _add_explain(router: APIRouter, hub: Hub) -> None:
    @router.get("/v1/standards/explain", responses={**_SAME, **_WRONG})
    def explained(
        request: Request,
        behaviour: Annotated[str | None, _parameter("a code, such as MOB-BIKE", accepted_behaviours())] = None,
        quantity: Annotated[str | None, _parameter("in the unit, such as 4.2; a counted act may go without")] = None,
        unit: Annotated[str | None, _parameter("by default the behaviour's own")] = None,
        region: Annotated[str | None, _parameter("GB/T 2260 code, such as 420100; by default unknown")] = None,
        on: Annotated[str | None, _parameter("day of the act, such as 2026-11-20; by default today")] = None,
        role: Annotated[str, _parameter("the platform's part in the act", Role)] = Role.OPERATOR,
        methodology: Annotated[str | None, _parameter("by default the one in use", methodology_versions())] = None,
    ) -> Response:
        """Say how many milligrams an act is worth, by which figures, from which sources, step by step."""
        today = day_of(int(hub.clock().timestamp() * 1_000_000))
        version = hub.settings.methodology if methodology is None else methodology
        names = ("behaviour", "quantity", "unit", "region", "on", "role", "methodology")
        return _tell(
            request,
            names,
            lambda: _explain(version, _act(behaviour, quantity, unit, region, role, today if on is None else _day(on))),
            OF_TODAY if on is None else KEPT,
        )


def _tell(request: Request, parameters: tuple[str, ...], make: Callable[[], bytes], keep: str = KEPT) -> Response:
    """Answer with JSON, or say which parameter is wrong and what it may be."""
    try:
        _require_parameters(request, parameters)
        return _answer(request, make(), JSON, keep)
    except _WrongError as wrong:
        kind = "not_found" if wrong.status == 404 else "usage_problem"
        body = {
            "type": f"urn:tanlian:problem:{kind}", "title": wrong.title, "status": wrong.status,
            "parameter": wrong.parameter, "valid": wrong.valid,
        }  # fmt: skip
        return JSONResponse(body, wrong.status, media_type="application/problem+json")


def _require_parameters(request: Request, parameters: tuple[str, ...]) -> None:
    """A misspelt parameter must not be silently ignored, nor one of two equal ones."""
    told = [name for name, _ in request.query_params.multi_items()]
    for name in told:
        if name not in parameters:
            raise _WrongError("query", "there is a parameter that is none", parameters)
        if told.count(name) > 1:
            raise _WrongError(name, f"{name} is given more than once", parameters)


def _answer(request: Request, content: bytes, media_type: str, keep: str) -> Response:
    """Answer with the content, or with 304 if the caller has shown that it has it already (RFC 9110, 13.1.2)."""
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": keep}
    shown = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if etag in shown or "*" in shown:
        return Response(status_code=304, headers=headers)
    # Given as a header, so that nothing is added to it.
    return Response(content, headers={**headers, "content-type": media_type})


@cache
def _page() -> bytes:
    documents, versions = list(load_documents().values()), methodology_versions()
    return bytes(render("standards.html", signed_in=False, documents=documents, methodologies=versions).body)


@cache
def _behaviours() -> bytes:
    return _json(
        [
            {
                "code": b.code, "category": b.category, "zh": b.zh, "en": b.en, "aliases": list(b.aliases),
                "units": list(b.units), "published_units": list(b.published_units), "day_unit": b.day_unit,
                "group": b.group, "family": b.family, "counts_one_without_quantity": b.countable, "accepted": b.accepted,
                "support": b.support, "support_in_words": SUPPORT[b.support], "sources": list(b.sources),
            }
            for b in load_behaviours().values()
        ]
    )  # fmt: skip


def _factors(behaviour: str | None) -> bytes:
    if behaviour is not None and behaviour not in load_behaviours():
        raise _WrongError("behaviour", "there is no such behaviour", load_behaviours())
    rows = load_factors().to_dicts() if behaviour is None else load_factors().filter(behaviour=behaviour).to_dicts()
    days = ("valid_from", "valid_until")
    return _json(
        [
            row
            | {name: row[name] and row[name].isoformat() for name in days}
            | {"grams": format_grams(row["amount_mg"])}
            | {
                "source_title": load_sources()[row["source"]].title,
                "source_address": load_sources()[row["source"]].address,
            }
            for row in rows
        ]
    )


def _methodology(version: str) -> bytes:
    if version not in methodology_versions():
        raise _WrongError("version", "there is no such methodology", methodology_versions(), status=404)
    return _known_methodology(version)


@cache
def _known_methodology(version: str) -> bytes:
    return _json(methodology_form(version))


def _explain(version: str, act: Act) -> bytes:
    if version not in methodology_versions():
        raise _WrongError("methodology", "there is no such methodology", methodology_versions())
    methodology = load_methodology(version)
    if act.day < methodology.acts_from:
        since = methodology.acts_from
        raise _WrongError("on", f"{version} values acts from {since} on", [f"{since} or later"])
    units = [method.unit for method in methodology.of_behaviour(act.behaviour)]
    if act.unit is not None and act.unit not in units:
        raise _WrongError("unit", f"{version} values {act.behaviour} in other units", units)
    try:
        return _json(explain(act, methodology).to_dict())
    except NotValuedError as cause:
        # What is left is the quantity, or a behaviour that this version has no method for.
        codes = dict.fromkeys(method.behaviour for method in methodology.methods.values())
        if act.behaviour not in codes:
            raise _WrongError("behaviour", str(cause), codes) from cause
        raise _WrongError("quantity", str(cause), ["a decimal number, zero or more"]) from cause


def _act(
    behaviour: str | None, quantity: str | None, unit: str | None, region: str | None, role: str, day: date
) -> Act:
    if behaviour not in accepted_behaviours():
        raise _WrongError(
            "behaviour", "there is no such behaviour that the hub takes records of", accepted_behaviours()
        )
    if role not in tuple(Role):
        raise _WrongError("role", "there is no such role", Role)
    try:
        micro = None if quantity is None else parse_decimal_micro(quantity)
    except UnitError as cause:
        raise _WrongError("quantity", f"quantity: {cause}", ["a decimal number, zero or more"]) from cause
    return Act(
        behaviour=str(behaviour),
        quantity_micro=micro,
        unit=unit,
        region=None if region is None else _region(region),
        day=day,
        role=role,
    )


def _region(text: str) -> int:
    try:
        # An unwritten code is no place: 0 lies in no province.
        return check_region(int(text) if _CODE.fullmatch(text) else 0)
    except RegionError:
        provinces = [f"{r.code} {r.zh} {r.en}" for r in load_regions().values() if r.code % 10000 == 0]
        title = "not a GB/T 2260 code of six digits; the first two must be those of a province"
        raise _WrongError("region", title, provinces) from None


def _day(text: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _WrongError("on", "not a day of the calendar", ["YYYY-MM-DD"])


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode()
