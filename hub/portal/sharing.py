"""The page that shows what an OAuth client asks for, and how its answer is read. I/O: reads participants' names.

One page for the person themself and for a child's guardian: each detail and each sensitive class is a decision of its
own, and nothing is ticked beforehand.
"""

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Response

from consent.authorize import Decision
from consent.details import Detail
from consent.notices import Notice, fill_in
from consent.pushed import Asked, Pushed
from consent.terms import Assurance, Frequency, Sensitive, sensitive_classes
from hub.context import Hub
from hub.db import reading
from hub.participants import load_participants
from hub.portal.asking import agreed_classes, box_name
from hub.portal.browser import Visit, page
from standards.behaviours import load_behaviours

# Sharing takes a recent proof of the person. Longer than for other acts: the page has to be read, and comes at the end of
# a way through somebody else's site.
SHARING_PROOF = timedelta(minutes=15)
NOTHING = "Nothing is left of what you would allow: tick what you agree to, or refuse. 请勾选您同意的内容,或选择拒绝。"
ACTIONS = {
    "read": "read your grams and the acts behind them 查看您的减排量及其对应的行为",
    "contribute": "report acts of yours, to be counted once and credited to you 上报您的行为,核算一次并记入您的账户",
    "use": "set grams of yours aside and use them, each time you say so there 在您于对方处确认时,预留并使用您的减排量",
    "pool": "take grams of yours, without asking each time, and pool them with those of others into blocks of one tonne that are "
    "sold or retired in a market; they do not come back, and your share of the income is owed to you "
    "无需逐次确认,将您的减排量与他人的汇集成一吨的批次,用于碳市场出售或注销;汇集后不再退回,所得收益按您的份额归您",
}
ACTIONS_FOR_CHILD = {
    "read": "read the child's grams and the acts behind them 查看该未成年人的减排量及其对应的行为",
    "contribute": "report acts of the child, to be counted once and credited to the child "
    "上报该未成年人的行为,核算一次并记入其账户",
    "use": "set grams of the child aside and use them, each time the child says so there "
    "在该未成年人于对方处确认时,预留并使用其减排量",
    "pool": "take grams of the child, without asking each time, and pool them with those of others into blocks of one tonne that "
    "are sold or retired in a market; they do not come back, and the child's share of the income is owed to the child "
    "无需逐次确认,将该未成年人的减排量与他人的汇集成一吨的批次,用于碳市场出售或注销;汇集后不再退回,所得收益按份额归该未成年人",
}
FREQUENCIES = {
    Frequency.ONCE: "once 一次", Frequency.DAILY: "once a day 每天一次", Frequency.WEEKLY: "once a week 每周一次",
    Frequency.MONTHLY: "once a month 每月一次", Frequency.ALWAYS: "as often as needed 按需",
}  # fmt: skip


def show_sharing(
    hub: Hub,
    current: Visit,
    asked: Asked,
    notice: Notice,
    *,
    action: str,
    hidden: Mapping[str, str],
    child: str | None = None,
    problem: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render the page that asks for what a client asks.

    Args:
        action: where the answer goes, with what is `hidden` in the form.
        child: the name of whom a guardian is asked for; None where people are asked for themselves.
    """
    notices = filled_notices(hub, asked, notice, child=child)
    return page(
        "authorize.html", headers=headers, signed_in=True, csrf=current.info.csrf, notices=notices, problem=problem,
        boxes=[(box_name(one), sentence) for one, sentence in sorted(notices[0].sensitive.items())],
        several=len(notices) > 1, action=action, hidden=hidden, status=200 if problem is None else 422,
    )  # fmt: skip


def read_decision(
    form: Mapping[str, str], asked: Asked, notice: Notice, *, subject_id: int, assurance: Assurance
) -> Decision:
    """Read what was ticked; where there is one detail only, the button says it all."""
    several = len(asked.details) > 1
    return Decision(
        subject_id=subject_id,
        assurance=assurance,
        notice_version=notice.version,
        language=notice.language,
        agreed=agreed_classes(form) & asked_classes(asked),
        chosen=frozenset(n for n in range(len(asked.details)) if not several or form.get(f"detail_{n}") == "yes"),
    )


def filled_notices(hub: Hub, asked: Asked, notice: Notice, *, child: str | None = None) -> list[Notice]:
    """The words of the page, once for each detail."""
    with reading(hub.engine) as session:
        known = {row.participant_id: f"{row.name_zh} {row.name_en}" for row in load_participants(session)}
    classes = asked_classes(asked)
    told = [_values(asked, detail, known, child) for detail in asked.details]
    return [fill_in(notice, values, classes=classes) for values in told]


def asked_classes(asked: Asked) -> frozenset[Sensitive]:
    """The sensitive classes that are in question."""
    return sensitive_classes(word for one in asked.details for word in one.behaviours)


def client_policy(pushed: Pushed) -> dict[str, str]:
    """The header of a page whose form's answer redirects to the client."""
    parts = urlsplit(pushed.redirect_uri)
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {parts.scheme}://{parts.netloc}"
    )
    return {"content-security-policy": policy}


def _values(asked: Asked, detail: Detail, known: Mapping[str, str], child: str | None) -> dict[str, str]:
    names, actions = load_behaviours(), ACTIONS if child is None else ACTIONS_FOR_CHILD
    return {
        "client": asked.client.name,
        "participant": known.get(asked.client.participant or "", "acts for itself 代表自身"),
        "actions": "; ".join(actions[action] for action in sorted(detail.actions)),
        "purpose": f"“{detail.purpose}”" if detail.purpose else "it gave no purpose 未说明",
        "behaviours": ", ".join(f"{names[code].zh} {names[code].en}" for code in sorted(detail.behaviours)),
        "platforms": ", ".join(known.get(name, name) for name in sorted(detail.platforms)) or "none yet 暂无",
        "valid_from": detail.to_json()["from"],
        "valid_until": detail.to_json()["until"],
        "frequency": FREQUENCIES[detail.frequency],
        "child": child or "",
    }
