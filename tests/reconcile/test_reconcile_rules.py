"""Breaks: who has to act, what may be proposed, and that nothing is closed without both signatures."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.errors import Conflict, UsageProblem
from hub.reconcile.lines import BreakKind
from hub.reconcile.rules import MEANING, Proposal, Side, State, choices_of, opened, proposed, require_note, signed

FIRST = {
    BreakKind.MISSING_HERE: (Proposal.PLATFORM_SENDS_AGAIN, Side.PLATFORM),
    BreakKind.MISSING_THERE: (Proposal.PLATFORM_CONFIRMS, Side.PLATFORM),
    BreakKind.AMOUNT: (Proposal.PLATFORM_CORRECTS, Side.PLATFORM),
    BreakKind.VERSION: (Proposal.PLATFORM_SENDS_AGAIN, Side.PLATFORM),
    BreakKind.LATE: (Proposal.COUNTS_WHERE_IT_ARRIVED, Side.HUB),
    BreakKind.ROWS: (Proposal.HUB_TAKES_AGAIN, Side.HUB),
}


@pytest.mark.parametrize("kind", BreakKind)
def test_a_break_opens_with_the_rule_s_proposal_and_its_owner(kind: BreakKind) -> None:
    begun = opened(kind)
    assert (begun.state, begun.proposal, begun.owner) == (State.OPEN, *FIRST[kind])
    assert begun.proposal == choices_of(kind)[0]
    assert len(set(choices_of(kind))) == len(choices_of(kind)) > 1


def test_every_proposal_means_something_and_can_be_made() -> None:
    assert set(MEANING) == set(Proposal) == {one for kind in BreakKind for one in choices_of(kind)}


def test_what_is_not_of_the_kind_is_not_proposed() -> None:
    for wrong in ("counts_where_it_arrived", "forget_it", ""):
        with pytest.raises(UsageProblem, match="propose one of: platform_corrects"):
            proposed(opened(BreakKind.AMOUNT), wrong)


def test_nothing_is_signed_that_nobody_proposed() -> None:
    with pytest.raises(Conflict, match="nothing is proposed"):
        signed(opened(BreakKind.LATE), "counts_where_it_arrived", Side.HUB)


def test_nobody_signs_what_is_not_proposed_any_more() -> None:
    first = proposed(opened(BreakKind.AMOUNT), "platform_corrects")
    later = proposed(signed(first, "platform_corrects", Side.PLATFORM), "hub_takes_again")
    assert (later.state, later.platform_signed, later.owner) == (State.PROPOSED, False, Side.HUB)
    with pytest.raises(Conflict, match="what is proposed for this break is hub_takes_again"):
        signed(later, "platform_corrects", Side.PLATFORM)


@pytest.mark.parametrize("note", ["two\nlines", "x" * 201, "tab\there"])
def test_a_note_is_one_line(note: str) -> None:
    with pytest.raises(UsageProblem, match="one line"):
        require_note(note)
    assert require_note("  told by the night shift ") == "told by the night shift"


class Break(RuleBasedStateMachine):
    """Both sides propose and sign in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = opened(BreakKind.MISSING_THERE)
        self.agreed: set[Side] = set()

    @precondition(lambda self: self.now.state is not State.CLOSED)
    @rule(choice=st.sampled_from(choices_of(BreakKind.MISSING_THERE)))
    def propose(self, choice: Proposal) -> None:
        self.now, self.agreed = proposed(self.now, choice), set()

    @precondition(lambda self: self.now.state not in (State.OPEN, State.CLOSED))
    @rule(side=st.sampled_from(Side))
    def sign(self, side: Side) -> None:
        self.now = signed(self.now, self.now.proposal, side)
        self.agreed.add(side)

    @precondition(lambda self: self.now.state is State.CLOSED)
    @rule()
    def try_again(self) -> None:
        with pytest.raises(Conflict, match="closed"):
            signed(self.now, self.now.proposal, Side.HUB)
        with pytest.raises(Conflict, match="closed"):
            proposed(self.now, self.now.proposal)

    @invariant()
    def closed_by_both_and_by_nothing_less(self) -> None:
        assert (self.now.state is State.CLOSED) == (self.agreed == set(Side))
        assert self.now.platform_signed == (Side.PLATFORM in self.agreed)
        assert self.now.hub_signed == (Side.HUB in self.agreed)


TestBreak = Break.TestCase
