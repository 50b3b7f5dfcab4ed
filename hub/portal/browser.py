"""A person's browser session: cookie in, page out. I/O: HTTP, the database.

The cookie holds a random token, the database its hash. Every form carries the session's CSRF token and must come from
this origin; nothing is done by GET.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from consent.ceremonies import RelyingParty, relying_party
from consent.sessions import CsrfRefused, SessionInfo, is_due_for_touch, load_session, start_session, touch_session
from hub.api.bodies import read_bounded
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem

FORM_BYTES, FORM_FIELDS = 64 * 1024, 200
HERE = Path(__file__).parent
# For the pages that offer passkeys, and for no others: one file of ours may run and ask this hub.
WITH_SCRIPT = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}
PAGES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)


def grams(mg: int | None) -> str:
    """Write milligrams as a person reads them: grams below a kilogram, kilograms above.

    Example:
        >>> grams(45_720), grams(1_234_567), grams(None)
        ('45.72 g', '1.23 kg', '–')
    """
    if mg is None:
        return "–"
    if abs(mg) >= 1_000_000:
        return f"{mg / 1_000_000:,.2f} kg"
    text = f"{mg / 1000:,.3f}".rstrip("0").rstrip(".")
    return f"{text} g"


PAGES.filters["grams"] = grams


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A live browser session; `token` is the cookie's value."""

    token: str
    info: SessionInfo

    @property
    def subject_id(self) -> int | None:
        return self.info.subject_id


def cookie_name(hub: Hub) -> str:
    """The `__Host-` prefix needs https; a hub on plain loopback http cannot have it."""
    return "__Host-tanlian" if hub.settings.issuer.startswith("https:") else "tanlian"


def visit(hub: Hub, request: Request) -> Visit | None:
    """Return the session of this request's cookie, if it lives."""
    token = request.cookies.get(cookie_name(hub))
    if not token:
        return None
    now = hub.clock()
    with reading(hub.engine) as session:
        info = load_session(session, token, now=now, idle=hub.settings.session_idle)
    if info is not None and is_due_for_touch(info, now=now):
        with writing(hub.engine) as session:
            touch_session(session, info, now=now)
    return None if info is None else Visit(token=token, info=info)


def begin_visit(hub: Hub) -> Visit:
    """Open an anonymous session, so that even the sign-in form has a CSRF token."""
    with writing(hub.engine) as session:
        token, info = start_session(session, subject_id=None, now=hub.clock())
    return Visit(token=token, info=info)


def keep_cookie(hub: Hub, response: Response, token: str) -> None:
    """Give the browser its session cookie."""
    secure = hub.settings.issuer.startswith("https:")
    response.set_cookie(cookie_name(hub), token, path="/", httponly=True, samesite="lax", secure=secure)


def drop_cookie(hub: Hub, response: Response) -> None:
    """Tell the browser to forget its session cookie; the session itself has ended already."""
    secure = hub.settings.issuer.startswith("https:")
    response.delete_cookie(cookie_name(hub), path="/", httponly=True, samesite="lax", secure=secure)


def passkeys_of(hub: Hub) -> RelyingParty | None:
    """Return who relies on passkeys here; None where the issuer is of a kind that browsers give none."""
    return relying_party(hub.settings.issuer)


async def read_form(request: Request) -> dict[str, str]:
    """Parse a form body; a field that comes twice keeps its first value."""
    body = await read_bounded(request, FORM_BYTES)
    fields: dict[str, str] = {}
    try:
        pairs = parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError:
        raise UsageProblem(f"a form has at most {FORM_FIELDS} fields") from None
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def require_own_form(hub: Hub, request: Request, current: Visit, form: Mapping[str, str]) -> None:
    """Refuse a form that another site sent: the CSRF token must be this session's, and Origin, if told, ours."""
    require_own(hub, request, current.info.csrf, form)


def require_own(hub: Hub, request: Request, csrf: str, form: Mapping[str, str]) -> None:
    """Do the same for any kind of session with a CSRF token. Raises CsrfRefused."""
    origin = request.headers.get("origin")
    ours = urlsplit(hub.settings.issuer)
    own = origin is None or origin == f"{ours.scheme}://{ours.netloc}"
    if not own or not hmac.compare_digest(csrf.encode(), form.get("csrf", "").encode()):
        raise CsrfRefused


def page(
    name: str, /, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
) -> HTMLResponse:
    """Render a page."""
    response = render(name, **values)
    response.status_code = status
    response.headers.update(headers or {})
    return response


def render(name: str, /, **values: object) -> HTMLResponse:
    """Render a page that is all right and has no headers of its own."""
    return HTMLResponse(PAGES.get_template(name).render(**values))


def go(path: str) -> RedirectResponse:
    """Redirect with 303: whatever was posted, the next request is a GET."""
    return RedirectResponse(path, status_code=303)
