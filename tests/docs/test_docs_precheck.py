"""The document of the pre-check is true: its question is asked, its answers are given."""

import json
from typing import Any

from docs.markdown_blocks import ROOT, parse_blocks
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.tokens import Machine

from hub.commands.profiles import GUIDES
from hub.context import Hub
from hub.pipeline import take_delivery
from hub.precheck.asking import LEAST_DIFFERENT, LEAST_SIGNS, MOST_BYTES, MOST_EVENTS
from standards.policy import load_policy

CITY, OTHER = "beijing-green-life", "other-city"
TEXT = (ROOT / "standards" / "profiles" / "precheck.v1.md").read_text(encoding="utf-8")


def only(word: str) -> Any:
    (block,) = [block for block in parse_blocks(TEXT) if block.words == (word,)]
    return json.loads(block.text)


def test_the_question_of_the_document_gets_its_answer(hub: Hub) -> None:
    city = join(hub, BEIJING)
    join(hub, BEIJING | {"id": OTHER})
    link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), hub.clock())
    take_delivery(hub, city, delivery("d1", act("1", orderNo="MB-20261118-77")), now=hub.clock())
    asker = Machine(hub, OTHER)
    answer = asker.send_json("/v1/precheck", only("question"))
    assert (answer.status_code, answer.json()) == (200, only("answer"))
    weak = {"behaviour": "MOB-BIKE", "at": "2026-11-18T08:12:03+08:00", "event_key": "77"}
    refused = asker.send_json("/v1/precheck", {"events": [weak]})
    assert (refused.status_code, refused.json()) == (422, only("problem"))


def test_the_bounds_that_the_document_names_are_the_hubs(hub: Hub) -> None:
    settings = hub.settings
    for words in (
        f"Up to {MOST_EVENTS} acts",
        f"at least {LEAST_SIGNS} letters or digits, {LEAST_DIFFERENT} of them different",
        f"{settings.precheck_calls_per_minute} calls a minute",
        f"{settings.precheck_events_per_day:,} acts a day",
        f"more than {MOST_BYTES // 1024} KiB",
    ):
        assert words in TEXT, words
    assert load_policy().keys.span_s == 2 * 86_400
    assert "two days" in TEXT


def test_the_document_is_listed_for_platforms() -> None:
    assert "precheck" in GUIDES
