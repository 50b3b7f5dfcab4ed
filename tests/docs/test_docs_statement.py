"""The document of statements is true: its function makes its vectors, its bodies are taken, its tables are the hub's."""

import json
import re
from typing import Any

import pytest
from docs.markdown_blocks import ROOT, parse_blocks, parse_rows
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.tokens import Machine

from hub.commands.profiles import GUIDES
from hub.context import Hub
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.reconcile.documents import MOST_LINES_INSIDE, parse_lines
from hub.reconcile.lines import CLOCKS_APART_US, BreakKind, totals_of
from hub.reconcile.rules import opened
from hub.settings import Settings

CITY = "beijing-green-life"
TEXT = (ROOT / "standards" / "profiles" / "statement.v1.md").read_text(encoding="utf-8")
KNOWN = {"digest", "vectors", "statement", "lines", "propose", "sign"}


def only(word: str) -> str:
    (block,) = [block for block in parse_blocks(TEXT) if block.words == (word,)]
    return block.text


VECTORS: list[dict[str, Any]] = json.loads(only("vectors"))


@pytest.mark.parametrize("place", range(len(VECTORS)))
def test_the_hub_and_the_document_s_own_function_make_every_vector(place: int) -> None:
    vector, written = VECTORS[place], dict[str, Any]()
    exec(only("digest"), written)
    assert written["digest"](vector["lines"]) == vector["digest"]
    assert written["digest"](vector["lines"][::-1]) == vector["digest"]
    told = totals_of(parse_lines("\n".join(json.dumps(line) for line in vector["lines"]).encode()))
    assert (told.records, told.claimed_mg, told.digest.hex()) == (
        vector["records"], vector["claimed_mg"], vector["digest"],
    )  # fmt: skip


def test_a_vector_tells_bytes_from_other_orders() -> None:
    names = [[line["source_id"] for line in vector["lines"]] for vector in VECTORS]
    assert any(sorted(one) != sorted(one, key=lambda name: name.encode("utf-16-be")) for one in names)
    assert len(only("digest").strip().splitlines()) <= 10


@pytest.fixture
def own(hub: Hub) -> Machine:
    """A platform that told two records in window 1, of which it claims what the document's lines say of one."""
    city = join(hub, BEIJING)
    link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), hub.clock())
    rows = act("1", carbonReduction="90.00"), act("2", scene="METRO")
    take_delivery(hub, city, delivery("d1", *rows), now=hub.clock())
    seal_window(hub, now=hub.clock())
    clear_sealed(hub, now=hub.clock())
    return Machine(hub, CITY)


def test_the_statement_of_the_document_is_agreed(own: Machine) -> None:
    told = own.send_json("/v1/statements/1", json.loads(only("statement"))).json()
    assert (told["state"], told["breaks"]) == ("matched", [])


def test_the_lines_of_the_document_are_agreed(own: Machine) -> None:
    headers = {"content-type": "application/x-ndjson"}
    told = own.call("POST", "/v1/statements/1?stream=acts", content=only("lines").encode(), headers=headers).json()
    assert (told["state"], told["streams"][0]["matched"]) == ("matched", 2)


def test_a_break_is_proposed_about_and_signed_as_the_document_says(own: Machine) -> None:
    headers = {"content-type": "application/x-ndjson"}
    line = only("lines").splitlines()[0]
    assert own.call("POST", "/v1/statements/1", content=line.encode(), headers=headers).json()["opened"] == 1
    for step in ("propose", "sign"):
        body = json.loads(only(step))
        answer = own.send_json(f"/v1/breaks/1/{step}", body, headers={"idempotency-key": step})
        assert answer.status_code == 200, answer.text
    assert own.get("/v1/breaks/1").json()["state"] == "signed_platform"


def test_the_table_of_breaks_is_the_hub_s() -> None:
    told = {row[0].strip("`"): (row[3], row[4].strip("`")) for row in parse_rows(TEXT, "Kind")}
    begun = {kind: opened(kind) for kind in BreakKind}
    assert told == {str(kind): (str(one.owner), str(one.proposal)) for kind, one in begun.items()}


def test_the_bounds_that_the_document_names_are_the_hub_s() -> None:
    settings = Settings(_env_file=None)
    for words in (
        f"at most {MOST_LINES_INSIDE:,}",
        f"more than {CLOCKS_APART_US // 1_000_000} s",
        f"more than {settings.max_body_bytes // 1024**2} MiB, or {settings.max_statement_bytes // 1024**2} MiB of lines",
    ):
        assert words in TEXT, words


def test_every_block_of_the_document_is_tried_and_the_document_is_listed() -> None:
    assert {word for block in parse_blocks(TEXT) for word in block.words} == KNOWN
    assert "statement" in GUIDES
    assert not re.search(r"\bTODO\b", TEXT)
