"""A person is asked for pooling on its own, in words that say what it is."""

from typing import Any

from sqlalchemy.orm import Session
from tests_support.marketing import NOW, Market, Town, pool_all
from tests_support.tokens import Machine
from tests_support.web import Caller, look_up

from consent.clients import CLIENT_SCOPES, PERSON_SCOPES
from consent.details import PURPOSES, SCOPES
from consent.terms import Purpose
from hub.audit import market as checks
from hub.audit.books import Books
from hub.audit.readers import SessionReader
from hub.context import Hub
from hub.db import writing
from hub.market.income import share_income
from hub.portal import my_consents
from hub.portal.sharing import ACTIONS, ACTIONS_FOR_CHILD


def test_every_action_has_its_words_on_every_page() -> None:
    assert set(ACTIONS) == set(ACTIONS_FOR_CHILD) == set(PURPOSES) == set(SCOPES.values())
    assert set(my_consents.PURPOSES) == set(Purpose)


def test_what_is_said_of_pooling_is_more_than_what_is_said_of_use() -> None:
    for words in (ACTIONS["pool"], ACTIONS_FOR_CHILD["pool"]):
        for said in ("without asking each time", "do not come back", "sold or retired", "income", "出售", "不再退回"):
            assert said in words
    assert "each time you say so" in ACTIONS["use"]


def test_only_a_person_gives_the_one_scope_and_only_the_client_has_the_other(hub: Hub, town: Town) -> None:
    assert "grams:pool" in PERSON_SCOPES
    assert "blocks:write" in CLIENT_SCOPES
    market = Market.opened(hub)
    told = market.consented(
        town.people[0].subject_id, authorization_details=[{"type": "tanlian_account", "actions": ["pool"]}],
        scope="grams:pool blocks:write",
    )  # fmt: skip
    assert told["scope"] == "grams:pool"
    ((purposes,),) = look_up(hub, "SELECT purposes FROM grant_version WHERE recipient = :c AND state = 'active'",
                             c=market.client_id)  # fmt: skip
    assert purposes == '["pool"]'
    offered = Caller(hub).get("/.well-known/oauth-authorization-server").json()["scopes_supported"]
    assert {"grams:pool", "blocks:write"} <= set(offered)


def test_a_client_that_is_not_registered_for_it_asks_nobody(hub: Hub, town: Town) -> None:
    plain = Machine.recipient(hub, scope="account:read grams:use")
    asked = [{"type": "tanlian_account", "actions": ["pool"]}]
    told = plain.push(scope="account:read", authorization_details=asked)
    assert told.outcome == (400, "invalid_authorization_details")


BROKEN: dict[str, tuple[str, str]] = {
    "a gap": ("blocks_are_whole", "UPDATE block_share SET mg = mg - 1 WHERE line = 0 AND number = {}"),
    "an overlap": ("blocks_are_whole", "UPDATE block_share SET offset_mg = offset_mg - 1 WHERE line = 1 AND number = {}"),
    "no shares": ("blocks_are_whole", "DELETE FROM block_share WHERE number = {}"),
    "a share of another day": ("blocks_are_posted", "UPDATE block_share SET vintage = vintage + 1 WHERE number = {}"),
    "a share of somebody else": (
        "blocks_are_posted", "UPDATE block_share SET subject_id = subject_id + 1 WHERE line = 0 AND number = {}",
    ),
    "another serial": ("serials_are_dense", "UPDATE credit_block SET serial = 77 WHERE number = {}"),
    "a payout that is gone": ("income_is_shared", "DELETE FROM block_payout WHERE income_id > 0 OR income_id = {}"),
    "money for the wrong grams": (
        "income_is_shared", ("UPDATE block_payout SET fen = fen + (CASE WHEN subject_id = (SELECT MIN(subject_id) FROM "
        "block_payout) THEN 7 WHEN subject_id = (SELECT MAX(subject_id) FROM block_payout) THEN -7 ELSE 0 END) + 0 * {}"),
    ),
}  # fmt: skip


def test_the_audit_notices_what_breaks_a_block(hub: Hub, market: Market) -> None:
    """These break the commitments of shares too, so that more than one check fails."""
    block = pool_all(hub, market).blocks[0]
    with writing(hub.engine) as session:
        share_income(session, block.block_id, amount_fen=100_000, reference="r", now=NOW)
    for case, (name, statement) in BROKEN.items():
        with Session(hub.engine) as session:
            assert wrong(hub, session, name) == 0, case
            session.connection().exec_driver_sql(statement.format(block.number))
            assert wrong(hub, session, name) > 0, case
            session.rollback()


def wrong(hub: Hub, session: Session, name: str) -> int:
    finding: Any = getattr(checks, name)(Books(hub=hub, reader=SessionReader(session)))
    return int(finding.wrong.count)
