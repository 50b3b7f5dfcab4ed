"""Who asks at a regulator's door, and the leaf that says so. I/O: HTTP, the database.

Every door below /v1/regulator begins with one call and reads after it:

    access = enter_regulator(hub, gate, gate.call(request), What.PROOF_SEEN, about={"record": "17"})
    with reading(hub.engine) as session:
        ...

It takes an access token of the scope `regulator` (client credentials, bound to a key or certificate) of a client that
`tanlian clients register FILE --regulator NAME` bound to a member of staff, looks up the member's rights as they are now,
and commits the leaf of the access before it returns. Whatever it raises, nothing was shown: 401 and 403 of the token, 403
for a client of nobody or of a disabled member, 403 (with a leaf that says `refused`) for a right or scope that the role
has not. It blocks on the database: call it in the threadpool, as a plain `def` handler is.
"""

from collections.abc import Mapping

from fastapi import HTTPException

from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.context import Hub
from hub.db import reading, writing
from hub.staff.access import Access, append_access, find_noted_refusal
from hub.staff.machines import SCOPE, load_client_member
from hub.staff.rights import NO_SCOPE, Right, Scope, What

NOBODYS = "This client is of no regulator, or of one who is disabled."


def enter_regulator(
    hub: Hub,
    gate: Gate,
    call: ApiCall,
    what: What,
    *,
    right: Right = Right.SEE_LOG,
    scope: Scope = NO_SCOPE,
    ids: Mapping[str, str] | None = None,
    about: Mapping[str, str] | None = None,
) -> Access:
    """Let a regulator's software in and write its access into the log; returns once the leaf is durable.

    Args:
        what: the operation, as the leaf names it.
        right, scope: what it needs, and which platform, region and case it is about.
        ids: closed names with ids of our own, kept beside the action. about: what was asked; logged as a digest only.
    """
    token = gate.enter(call, SCOPE)
    now = hub.clock()
    with reading(hub.engine) as session:
        member = load_client_member(session, token.client_id)
    if member is None:
        raise HTTPException(403, NOBODYS)
    refusal = find_noted_refusal(hub, member, right, scope, now=now)
    if refusal is not None:
        raise HTTPException(403, "This role has no right to this; the request was written down.")
    access = Access(member=member, right=right, scope=scope, at=now)
    with writing(hub.engine) as session:
        if not append_access(session, access, what, ids=ids, about=about):
            raise HTTPException(403, NOBODYS)
    return access
