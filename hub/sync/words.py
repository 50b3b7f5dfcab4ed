"""Why a link is not being read, in words for the person and the operator. Pure."""

_WORDS = {
    "unreachable": "The platform could not be reached; the hub tries again.",
    "answered_429": "The platform asks for a pause; the hub tries again after it.",
    "page_unreadable": "The platform's answer was cut short; the hub tries again.",
    "platform_allowance": "The platform allows so many requests a minute; this link waits for its turn.",
    "token_busy": "Another worker is renewing the permission; the hub tries again.",
    "token_refused": "The platform no longer accepts the permission: please link again.",
    "refresh_refused": "The platform no longer renews the permission: please link again.",
    "no_refresh_token": "The permission has ended and cannot be renewed: please link again.",
    "no_token": "There is no permission of the platform: please link again.",
    "scope_refused": "The permission does not cover the records: please link again.",
    "link_inactive": "The link has ended.",
    "grant": "Consent does not allow reading now.",
    "suspended": "The platform's participation is suspended.",
    "redirected": "The platform sends elsewhere, where the hub does not follow: its operator has to correct the address.",
    "target_refused": "The platform's address may not be called: the hub's operator has to look.",
    "cursor_loop": "The platform's pages turn in a circle: its operator has to look.",
    "repeated_pages": "The platform repeats its pages: its operator has to look.",
    "met_another_delivery": "Two deliveries met; the hub tries again.",
    "root_unreadable": "The folder of deliveries cannot be read now; the hub tries again.",
    "credentials_refused": "The platform refuses the hub's own credentials: the hub's operator has to look.",
}


def in_words(reason: str) -> str:
    """Say what a reason means and what happens next; the reason itself stays in brackets, for whoever looks it up."""
    if reason in _WORDS:
        return f"{_WORDS[reason]} ({reason})"
    if reason.startswith("answered_5"):
        return f"The platform has a fault; the hub tries again. ({reason})"
    if reason.startswith("hub_error_"):
        return f"The hub has made a mistake; its operator was told. ({reason})"
    return f"Somebody has to look at it; the hub tries again later. ({reason})"
