"""Step-up: what a person does rarely and regrets easily needs a proof that it is still them. Pure.

How to use it on a page of the portal, before anything is changed:

    require_recent_proof(current.info, now=hub.clock())

It raises StepUpNeeded where the last proof is missing or too old. Nothing has to catch it: the application answers by
sending the person to `/stepup?next=...`, and back to the page that was asked for (hub/portal/stepup.py). A form cannot
be asked for again, so its handler names the way back: `require_recent_proof(current.info, now=hub.clock(), back="/links")`.

Signing in is a proof. Who signed in within the last five minutes is asked nothing more, so a client without JavaScript
that signs in and consents at once walks through plain forms. Keep the returned proof where a consent is recorded: its
time and method are `auth_time` and the class of the authentication.
"""

from datetime import datetime, timedelta

from consent.errors import ConsentError
from consent.sessions import Proof, ProofMethod, SessionInfo

RECENT = timedelta(minutes=5)
# Clocks of two machines of one hub may differ a little; a proof from further ahead is not from any of them.
CLOCKS_DIFFER = timedelta(minutes=1)

__all__ = ["RECENT", "Proof", "ProofMethod", "StepUpNeeded", "require_recent_proof"]


class StepUpNeeded(ConsentError):
    """The person has to prove anew who they are; then the same act may be tried again.

    `back` is where they go on from afterwards; None means the page that the act was asked for on.
    """

    def __init__(self, *, back: str | None = None, method: ProofMethod | None = None) -> None:
        super().__init__("a recent proof of the person is needed")
        self.back = back
        self.method = method


def require_recent_proof(
    info: SessionInfo,
    *,
    now: datetime,
    within: timedelta = RECENT,
    method: ProofMethod | None = None,
    back: str | None = None,
) -> Proof:
    """Return the session's last proof, if it is recent and of the method asked for.

    Args:
        within: how old it may be, at most.
        method: only this method will do; None takes any.
        back: the page where the person goes on after a new proof, as in StepUpNeeded.

    Raises:
        StepUpNeeded: nobody is signed in, there is no proof, or it is too old or of another method.
    """
    proof = info.proof
    if info.subject_id is None or proof is None or (method is not None and proof.method is not method):
        raise StepUpNeeded(back=back, method=method)
    if not -CLOCKS_DIFFER <= now - proof.at <= within:
        raise StepUpNeeded(back=back, method=method)
    return proof
