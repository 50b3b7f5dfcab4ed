"""What becomes of a break: who has to act, what is proposed, who agreed, when it is over. Pure.

    open -> proposed -> signed_platform | signed_hub -> closed

The rule proposes when a break opens, either side may propose otherwise, and both have to sign the same proposal. Whoever
proposes anew takes back what was signed before. A comparison that no longer shows the break closes it whatever its state.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from hub.errors import Conflict, UsageProblem
from hub.reconcile.lines import BreakKind

NOTE_CHARACTERS = 200


class Side(StrEnum):
    """The two that have to agree."""

    PLATFORM = "platform"
    HUB = "hub"


class State(StrEnum):
    """How far a break has come."""

    OPEN = "open"
    PROPOSED = "proposed"
    SIGNED_PLATFORM = "signed_platform"
    SIGNED_HUB = "signed_hub"
    CLOSED = "closed"


class Closed(StrEnum):
    """Why a break is over."""

    SIGNED = "signed"  # both sides agreed on what becomes of it
    GONE = "gone"  # a later comparison does not show it


class Proposal(StrEnum):
    """What may become of a break; a closed list, so that both sides sign the same thing."""

    PLATFORM_SENDS_AGAIN = "platform_sends_again"
    PLATFORM_WITHDRAWS = "platform_withdraws"
    PLATFORM_CONFIRMS = "platform_confirms"
    PLATFORM_CORRECTS = "platform_corrects"
    PLATFORM_MENDS_STATEMENT = "platform_mends_statement"
    HUB_TAKES_AGAIN = "hub_takes_again"
    COUNTS_WHERE_IT_ARRIVED = "counts_where_it_arrived"


MEANING = {
    Proposal.PLATFORM_SENDS_AGAIN: "the platform sends the record again; it counts in the window in which it arrives",
    Proposal.PLATFORM_WITHDRAWS: "the platform takes the record back by its next version",
    Proposal.PLATFORM_CONFIRMS: "the platform did tell this; the record stands as the hub has it",
    Proposal.PLATFORM_CORRECTS: "the platform sends a newer version with the amount that it means",
    Proposal.PLATFORM_MENDS_STATEMENT: "the platform's statement is wrong; it sends another one",
    Proposal.HUB_TAKES_AGAIN: "the hub looks why it has not all of it, and takes in again what was set aside",
    Proposal.COUNTS_WHERE_IT_ARRIVED: "nothing changes: it counts in the window in which it arrived",
}
# The first is what the rule proposes.
_CHOICES = {
    BreakKind.MISSING_HERE: (
        Proposal.PLATFORM_SENDS_AGAIN, Proposal.PLATFORM_MENDS_STATEMENT, Proposal.HUB_TAKES_AGAIN,
    ),
    BreakKind.MISSING_THERE: (
        Proposal.PLATFORM_CONFIRMS, Proposal.PLATFORM_WITHDRAWS, Proposal.PLATFORM_MENDS_STATEMENT,
    ),
    BreakKind.AMOUNT: (
        Proposal.PLATFORM_CORRECTS, Proposal.PLATFORM_CONFIRMS, Proposal.PLATFORM_MENDS_STATEMENT,
        Proposal.HUB_TAKES_AGAIN,
    ),
    BreakKind.VERSION: (
        Proposal.PLATFORM_SENDS_AGAIN, Proposal.PLATFORM_CONFIRMS, Proposal.PLATFORM_MENDS_STATEMENT,
    ),
    BreakKind.LATE: (Proposal.COUNTS_WHERE_IT_ARRIVED, Proposal.PLATFORM_MENDS_STATEMENT),
    BreakKind.ROWS: (
        Proposal.HUB_TAKES_AGAIN, Proposal.PLATFORM_SENDS_AGAIN, Proposal.PLATFORM_CONFIRMS,
        Proposal.PLATFORM_MENDS_STATEMENT,
    ),
}  # fmt: skip
_OWNERS = {BreakKind.LATE: Side.HUB, BreakKind.ROWS: Side.HUB}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What of a break the two sides move."""

    kind: BreakKind
    state: State
    owner: Side
    proposal: Proposal
    platform_signed: bool = False
    hub_signed: bool = False


def choices_of(kind: BreakKind) -> tuple[Proposal, ...]:
    """Return what may be proposed for a kind of break, the rule's own proposal first."""
    return _CHOICES[kind]


def opened(kind: BreakKind) -> Standing:
    """Return how a break of a kind begins."""
    proposal = _CHOICES[kind][0]
    return Standing(kind=kind, state=State.OPEN, owner=_OWNERS.get(kind, Side.PLATFORM), proposal=proposal)


def proposed(standing: Standing, proposal: str) -> Standing:
    """Return a break after somebody proposed something; the owner is who then has to act.

    Raises:
        Conflict: the break is closed. UsageProblem: this is nothing that may be proposed for its kind.
    """
    _require_live(standing)
    choices = choices_of(standing.kind)
    if proposal not in choices:
        raise UsageProblem(f"for a break of this kind ({standing.kind}) propose one of: {', '.join(choices)}")
    chosen = Proposal(proposal)
    owner = Side.PLATFORM if chosen.startswith("platform_") else Side.HUB
    return replace(
        standing, state=State.PROPOSED, proposal=chosen, owner=owner, platform_signed=False, hub_signed=False
    )


def signed(standing: Standing, proposal: str, side: Side) -> Standing:
    """Return a break after one side signed; with both signatures it is closed. Signing again changes nothing.

    Args:
        proposal: what the side believes that it signs.

    Raises:
        Conflict: the break is closed, nobody has proposed anything, or something else is proposed now.
    """
    _require_live(standing)
    if standing.state is State.OPEN:
        raise Conflict("nothing is proposed for this break yet; propose first, if only what the rule says")
    if proposal != standing.proposal:
        raise Conflict(f"what is proposed for this break is {standing.proposal}; sign that, or propose anew")
    after = replace(
        standing,
        platform_signed=standing.platform_signed or side is Side.PLATFORM,
        hub_signed=standing.hub_signed or side is Side.HUB,
    )
    if after.platform_signed and after.hub_signed:
        return replace(after, state=State.CLOSED)
    return replace(after, state=State.SIGNED_PLATFORM if after.platform_signed else State.SIGNED_HUB)


def require_note(note: str) -> str:
    """Return a note that can be kept. Raises UsageProblem unless it is one line, or empty."""
    note = note.strip()
    if len(note) > NOTE_CHARACTERS or not note.isprintable():
        raise UsageProblem(f"a note is one line of at most {NOTE_CHARACTERS} characters, without anybody's name")
    return note


def _require_live(standing: Standing) -> None:
    if standing.state is State.CLOSED:
        raise Conflict("this break is closed")
