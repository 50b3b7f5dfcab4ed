"""The page that asks for a consent, and how its answer is read. Renders; otherwise pure.

One page for linking, for a guardian and for renewing: the words are a notice (consent/notices.py), each sensitive class
has a box of its own that nobody has ticked beforehand, and yes and no have the same weight. What is not ticked is not
allowed; what is not answered is not allowed either.
"""

from collections.abc import Mapping
from datetime import datetime

from fastapi import Request, Response

from consent.notices import LANGUAGES, Notice, NoticeUnknown, current_notice, fill_in, notice_by_digest
from consent.sessions import SessionInfo
from consent.terms import Assurance, GrantTerms, Sensitive, sensitive_classes
from hub.participants import Platform
from hub.portal.browser import Visit, page
from standards.behaviours import load_behaviours

LANGUAGE, NOTICE, TICKED = "language", "notice", "yes"


def preferred_language(request: Request) -> str:
    """Return the language of notices that the browser would rather have.

    Only the order counts: whoever has Chinese first reads Chinese, everybody else English.
    """
    first = request.headers.get("accept-language", "").partition(",")[0].strip().lower()
    return "zh-CN" if first.startswith("zh") else LANGUAGES[0]


def box_name(sensitive: Sensitive) -> str:
    """Return the name of the checkbox of a class."""
    return f"sensitive_{sensitive.value}"


def agreed_classes(form: Mapping[str, str]) -> frozenset[Sensitive]:
    """Return the sensitive classes that the person ticked."""
    return frozenset(one for one in Sensitive if form.get(box_name(one)) == TICKED)


def shown_notice(form: Mapping[str, str], name: str) -> Notice:
    """Return the notice that the form's page showed, so that the words on record are those that were read.

    A form that does not say gets the current one in the browser's language.
    """
    try:
        found = notice_by_digest(form.get(NOTICE, ""))
    except NoticeUnknown:
        found = None
    return found if found is not None and found.name == name else current_notice(name, form.get(LANGUAGE, ""))


def assurance_of(info: SessionInfo) -> Assurance:
    """Say how the person of a session has shown who they are; a password is what signing in always took."""
    return Assurance.PASSWORD if info.proof is None else Assurance(info.proof.method.value)


def behaviour_names(terms: GrantTerms, language: str) -> str:
    """Return the behaviours as a sentence's worth of names, in the one dictionary that every page uses."""
    names = load_behaviours()
    known = [names[code] for code in sorted(terms.behaviours) if code in names]
    if language == "zh-CN":
        return "、".join(one.zh for one in known)
    return ", ".join(f"{one.zh} {one.en}" for one in known)


def link_values(platform: Platform, terms: GrantTerms, language: str) -> dict[str, str]:
    """Return what the notice of a linking leaves open."""
    return {
        "name_zh": platform.document.name_zh,
        "name_en": platform.document.name_en,
        "behaviours": behaviour_names(terms, language),
        "valid_from": day(terms.valid_from),
        "valid_until": day(terms.valid_until),
    }


def show_question(
    current: Visit,
    notice: Notice,
    terms: GrantTerms,
    *,
    values: Mapping[str, str],
    action: str,
    hidden: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render the page that asks for these terms.

    Args:
        terms: what is asked; each sensitive class in it gets its own box.
        values: what the notice leaves open.
        action: where the answer goes.
    """
    filled = fill_in(notice, values, classes=sensitive_classes(terms.behaviours))
    return page(
        "consent.html",
        headers=headers,
        signed_in=True,
        csrf=current.info.csrf,
        notice=filled,
        boxes=[(box_name(one), sentence) for one, sentence in filled.sensitive.items()],
        action=action,
        hidden={NOTICE: notice.sha256, **(hidden or {})},
    )


def day(at: datetime) -> str:
    """Write a day as the consent pages do."""
    return f"{at:%Y-%m-%d}"
