"""A deadline around several requests holds for each of them, whatever the client's own limits are."""

from collections.abc import Callable
from threading import Event

import pytest

from connectors.base import RetryLater
from connectors.net.checked_network import within
from connectors.net.egress import EgressLimits, Origin, SafeClient


@pytest.mark.parametrize("own_s", [90.0, 0.2])
def test_the_earlier_of_two_deadlines_holds(serve: Callable[..., object], own_s: float) -> None:
    ended = Event()
    waited_out: list[bool] = []
    platform = serve(lambda exchange: None if ended.wait(60) else waited_out.append(True))
    url = platform.url  # type: ignore[attr-defined]
    origin = Origin.parse(url, allow_loopback=True)
    client = SafeClient([origin], limits=EgressLimits(read_s=90.0, total_s=own_s))
    with client, within(0.2 if own_s > 1 else 90.0), pytest.raises(RetryLater):
        client.fetch(url)
    ended.set()
    assert waited_out == []
