"""A town whose grams are held."""

import pytest
from tests_support.people import LinkedPerson
from tests_support.using import Shop, settle_town

from hub.context import Hub


@pytest.fixture
def li(hub: Hub) -> LinkedPerson:
    """Li holds the grams of three rides on three days."""
    return settle_town(hub)[1]


@pytest.fixture
def shop(hub: Hub, li: LinkedPerson) -> Shop:
    return Shop.opened(hub)


@pytest.fixture
def token(shop: Shop, li: LinkedPerson) -> str:
    """Li allows the shop to use grams."""
    return shop.allowed(li.subject_id)
