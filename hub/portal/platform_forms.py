"""Forms about one platform, for the person themself and for a guardian, and why nothing was done. I/O: HTTP, the database."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from consent.notices import Notice, fill_in
from consent.terms import GrantTerms, sensitive_classes
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from hub.participants import Platform, Status, open_platform
from hub.portal.asking import LANGUAGE, link_values, preferred_language
from hub.portal.browser import Visit, page
from hub.portal.forms import Form, person_of_form, take_form
from hub.portal.terms import asked_terms

Handler = Callable[[Hub, Visit, Platform, Form], Response]


def post_form(router: APIRouter, hub: Hub, path: str, handler: Handler, *, back: str, ends: bool = False) -> None:
    """Let a handler answer a form about one platform, once it is known to be the person's own.

    Args:
        back: where the pages lead that say why not.
        ends: it withdraws, which is never refused: a suspension is the platform's trouble and not the person's.
    """

    def answer(hub: Hub, request: Request, form: Form) -> Response:
        found = person_of_form(hub, request, form, back=back, refuse=lambda *_: not_sent(back))
        if isinstance(found, Response):
            return found
        try:
            with reading(hub.engine) as session:
                platform = open_platform(session, hub.ring, request.path_params["platform_id"])
        except NotFound:
            return unknown(back)
        if platform.status is not Status.ACTIVE and not ends:
            return suspended(back)
        form.setdefault(LANGUAGE, preferred_language(request))
        return handler(hub, found[0], platform, form)

    take_form(router, hub, path, answer)


def told_terms(hub: Hub, platform: Platform, notice: Notice, more: Mapping[str, str] | None = None) -> GrantTerms:
    """Return what a page about one platform asks for, with the words in which it says what will be done.

    Args:
        more: what the notice leaves open besides what every link does.
    """
    asked = asked_terms(platform, hub.clock(), look_back=hub.settings.consent_look_back, notice=notice)
    values = {**link_values(platform, asked, notice.language), **(more or {})}
    told = fill_in(notice, values, classes=sensitive_classes(asked.behaviours))
    return replace(asked, purpose_text=told.points[0][1])


def stop(heading: str, message: str, back: str, *, status: int) -> Response:
    """Render a page that says why nothing was done."""
    return page(
        "message.html", status=status, signed_in=False, heading=heading, message=message, back=back, back_text="Back"
    )


def not_sent(back: str) -> Response:
    """Say that the form came from elsewhere."""
    return stop("Not sent", "Please send the form from this hub's own page.", back, status=403)


def unknown(back: str) -> Response:
    """Say that there is no such platform."""
    return stop("No such platform", "This platform has not joined the hub.", back, status=404)


def suspended(back: str) -> Response:
    """Say that the platform takes nothing new for now."""
    return stop("Not now", "This platform is suspended. Try again later.", back, status=409)
