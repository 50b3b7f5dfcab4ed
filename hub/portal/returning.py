"""Where a person may be sent on to after signing in or proving who they are. Pure.

The address comes with the request, so anybody may have written it: it is taken only if it is a page of ours by name. A
page that needs a sign-in or a step-up on its way has to stand in this list.
"""

import re
from urllib.parse import quote, urlsplit

HOME = "/"
# The page itself, and where it ends with "/" every page below it.
PAGES = (
    "/",
    "/links",
    "/security",
    "/oauth/authorize",
    "/consents",
    "/receipts/",
    "/care",
    "/care/requests/",
    "/data",
    "/data/erase",
    "/acts/",
)
# What our own pages put into an address. No backslash, space or control character, which browsers read in their own
# ways, and no "//", which begins another site's address.
_LOCAL = re.compile(r"/(?!/)[A-Za-z0-9_./~-]*(?:\?[A-Za-z0-9_.~%&=+:/,;@!*()-]*)?")
_LONGEST = 2000


def safe_return(address: str | None) -> str:
    """Return the address if it is a page of ours, else the person's own account.

    Example:
        >>> safe_return("/oauth/authorize?client_id=c&request_uri=urn%3Aietf%3Ax")
        '/oauth/authorize?client_id=c&request_uri=urn%3Aietf%3Ax'
        >>> safe_return("//evil.example"), safe_return("/links/../../evil"), safe_return(None)
        ('/', '/', '/')
    """
    if not address or len(address) > _LONGEST or not _LOCAL.fullmatch(address):
        return HOME
    path = urlsplit(address).path
    if "//" in path or any(part in (".", "..") for part in path.split("/")):
        return HOME
    allowed = any(path == page or (page != HOME and page.endswith("/") and path.startswith(page)) for page in PAGES)
    return address if allowed else HOME


def with_return(page: str, back: str) -> str:
    """Return the address of a page that will lead back.

    Example:
        >>> with_return("/stepup", "/security"), with_return("/signin", "/")
        ('/stepup?next=%2Fsecurity', '/signin')
    """
    back = safe_return(back)
    return page if back == HOME else f"{page}?next={quote(back, safe='')}"
