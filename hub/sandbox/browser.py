"""A browser small enough to read: follows plain HTML forms and redirects as a person would. I/O: network.

It knows fields, not pages: wherever it finds `username` and `password` it signs in, wherever a button is called
`decision` it decides, and a yes is a yes to everything: it ticks every box. So it walks through the hub and through any
platform alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

from hub.sandbox.forms import Form, Page, parse_page

_MOST_REDIRECTS = 10
_MOST_STEPS = 12


class LostWayError(Exception):
    """The page that came is not one that the person can go on from. The text names the address without its query."""


class Browser:
    """One person's browser, with its own cookies. Leaves the loopback for nobody."""

    def __init__(self, *, timeout_s: float = 30.0) -> None:
        # As current browsers do, a cookie marked Secure is kept and sent on the loopback without TLS. The client's own
        # jar would forget that policy with each request.
        self._cookies = httpx.Cookies(CookieJar(DefaultCookiePolicy(secure_protocols=("https", "wss", "http"))))
        self._client = httpx.Client(trust_env=False, follow_redirects=False, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def open(self, url: str) -> Page:
        """Go to an address and follow its redirects."""
        return self._follow("GET", url, None, ())

    def submit(
        self,
        page: Page,
        form: Form,
        values: Mapping[str, str] | None = None,
        *,
        press: tuple[str, str] | None = None,
    ) -> Page:
        """Fill a form, press one of its buttons and follow where it leads."""
        if press is not None and press not in form.buttons:
            raise LostWayError(f"the form on {_place(page.url)} has no such button")
        data = {**form.values, **(values or {}), **({press[0]: press[1]} if press is not None else {})}
        return self._follow(form.method, form.action, data, (page.url,))

    def _follow(self, method: str, url: str, data: Mapping[str, str] | None, seen: tuple[str, ...]) -> Page:
        came_from = seen[-1] if seen else None
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._request(method, url, data, came_from)
            target = answer.headers.get("location")
            if not answer.is_redirect or target is None:
                return parse_page(str(answer.url), answer.status_code, answer.text, seen)
            seen = (*seen, url)
            if answer.status_code not in (307, 308):  # all others turn into a GET without content
                method, data = "GET", None
            url = urljoin(url, target)
        raise LostWayError(f"{_place(url)} redirects in a circle")

    def _request(self, method: str, url: str, data: Mapping[str, str] | None, came_from: str | None) -> httpx.Response:
        if urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise LostWayError(f"{_place(url)} is outside the town")
        headers = {"accept": "text/html"}
        if method == "GET":
            request = self._client.build_request("GET", url, params=data or None, headers=headers)
        else:
            # What a browser adds to a form: servers may check it against forged posts.
            headers["origin"] = _origin(came_from or url)
            request = self._client.build_request("POST", url, data=dict(data or {}), headers=headers)
        self._cookies.set_cookie_header(request)
        answer = self._client.send(request)
        self._client.cookies.clear()
        self._cookies.extract_cookies(answer)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """A person at the browser: what they type at the hub and at platforms, and the phone that gives them codes."""

    username: str
    hub_password: str = field(repr=False)
    platform_password: str = field(repr=False)
    fetch_code: Callable[[], str] | None = None


def sign_in(browser: Browser, hub_url: str, persona: Persona) -> Page:
    """Sign in at the hub's own page."""
    page = browser.open(f"{hub_url}/signin")
    form = _form_with(page, "username", "password")
    after = browser.submit(page, form, {"username": persona.username, "password": persona.hub_password})
    if after.status >= 400 or any(form.has("username", "password") for form in after.forms):
        raise LostWayError("the hub does not let the person in")
    return after


def link_platform(
    browser: Browser, hub_url: str, platform: str, persona: Persona, *, refuse_at: str | None = None
) -> Page:
    """Link a platform from the hub's list of links to the end, and return the page there.

    After a refusal the end may also be a page of the hub that asks nothing: it says that nothing was linked.

    Args:
        refuse_at: where the person says no instead of yes: `hub` (the consent page), `platform`, or `callback` (the
            hub's last question); None: nowhere.

    Raises:
        LostWayError: the way does not end at the list of links.
    """
    page = browser.open(f"{hub_url}/links")
    form = page.form_to(f"/links/{platform}")
    if form is None:
        raise LostWayError(f"{_place(page.url)} offers no form for this platform")
    page, refused = browser.submit(page, form), False
    for _ in range(_MOST_STEPS):
        if _origin(page.url) == _origin(hub_url) and (page.path == "/links" or (refused and not _asks(page))):
            return page
        refused = refused or _stage(hub_url, page) == refuse_at
        page = _step(browser, hub_url, page, persona, refuse_at)
    raise LostWayError(f"no end in sight at {_place(page.url)}")


def revoke_platform(browser: Browser, hub_url: str, platform: str) -> Page:
    """Withdraw a link: press what the list of links offers for it, and say yes if asked again."""
    page = browser.open(f"{hub_url}/links")
    prefix = f"/links/{platform}/"
    form = next((one for one in page.forms if urlsplit(one.action).path.startswith(prefix)), None)
    if form is None:
        raise LostWayError(f"{_place(page.url)} offers nothing to withdraw for this platform")
    page = browser.submit(page, form, press=_decision(form, "approve") if form.decides() else None)
    for _ in range(_MOST_STEPS):
        asking = next((one for one in page.forms if one.decides()), None)
        if page.path == "/links" or asking is None:
            break
        page = browser.submit(page, asking, asking.boxes, press=_decision(asking, "approve"))
    if page.status >= 400:
        raise LostWayError(f"{_place(page.url)} answered {page.status}")
    return page


def _step(browser: Browser, hub_url: str, page: Page, persona: Persona, refuse_at: str | None) -> Page:
    if page.status >= 400:
        raise LostWayError(f"{_place(page.url)} answered {page.status}")
    stage = _stage(hub_url, page)
    for form in page.forms:
        if form.has("username", "password"):
            password = persona.platform_password if stage == "platform" else persona.hub_password
            return browser.submit(page, form, {"username": persona.username, "password": password})
        if form.has("code") and persona.fetch_code is not None:
            return browser.submit(page, form, {"code": persona.fetch_code()}, press=_first_button(form))
        if form.decides():
            if stage == refuse_at:
                return browser.submit(page, form, press=_decision(form, "refuse"))
            return browser.submit(page, form, form.boxes, press=_decision(form, "approve"))
    raise LostWayError(f"{_place(page.url)} has no form to go on with")


def _asks(page: Page) -> bool:
    return any(form.decides() or form.has("username", "password") or form.has("code") for form in page.forms)


def _stage(hub_url: str, page: Page) -> str:
    """Say whose question the person is looking at: `hub`, `platform` or `callback`."""
    if _origin(page.url) != _origin(hub_url):
        return "platform"
    return "callback" if "/callback/" in page.path else "hub"


def _form_with(page: Page, *names: str) -> Form:
    form = next((form for form in page.forms if form.has(*names)), None)
    if form is None:
        raise LostWayError(f"{_place(page.url)} has no form with {', '.join(names)}")
    return form


def _decision(form: Form, value: str) -> tuple[str, str]:
    if ("decision", value) not in form.buttons:
        raise LostWayError(f"the form to {_place(form.action)} has no button to {value}")
    return "decision", value


def _first_button(form: Form) -> tuple[str, str] | None:
    return _decision(form, "approve") if form.decides() else None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _place(url: str) -> str:
    return _origin(url) + urlsplit(url).path  # never the query: it may hold a code
