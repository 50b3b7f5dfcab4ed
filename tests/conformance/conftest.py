"""The servers on which feeds are tried, started once for each worker of the test runner."""

from collections.abc import Iterator

import pytest

from hub.conformance.stage import Stage


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as opened:
        yield opened
