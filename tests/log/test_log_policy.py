"""Policies of logs and witnesses: quorums that are met or not, and files that are refused."""

from itertools import combinations

import pytest

from hub.log.note import LogSigner
from hub.log.policy import MAX_POLICY_BYTES, NOBODY, PolicyError, parse_policy
from hub.log.witness_protocol import Cosigner

WITNESSES = {name: Cosigner(f"{name}.example", name.encode() * 16) for name in ("x1", "x2", "x3", "y1", "y2")}
LOG = LogSigner("hub.example/log", b"l" * 32)
KEYS = {name: one.verifier.to_vkey() for name, one in WITNESSES.items()}
LINES = "".join(f"witness {name} {vkey}\n" for name, vkey in KEYS.items())
TWO_LEVELS = f"""# who is believed
log {LOG.vkey} https://hub.example/log
 \t
{LINES}group xs 2 x1 x2 x3
group ys any\ty1 y2
  group both all xs ys
quorum both
"""


def test_a_quorum_of_two_levels_is_met_by_exactly_the_sets_that_it_names() -> None:
    policy = parse_policy(TWO_LEVELS.encode())
    assert policy.logs == (LOG.verifier,)
    assert policy.keys == tuple(one.verifier for one in WITNESSES.values())
    met = 0
    for size in range(6):
        for names in combinations(WITNESSES, size):
            wanted = sum(name in names for name in ("x1", "x2", "x3")) >= 2 and bool({"y1", "y2"} & set(names))
            assert policy.is_met([WITNESSES[name].verifier for name in names]) is wanted, names
            met += wanted
    assert met == 12
    assert not policy.is_met([LOG.verifier])


def test_a_policy_may_want_one_witness_or_none() -> None:
    one = parse_policy(f"witness w {KEYS['x1']} https://w.example/submit\nquorum w".encode())
    assert [w.url for w in one.witnesses] == ["https://w.example/submit"]
    assert one.is_met([WITNESSES["x1"].verifier])
    assert not one.is_met([WITNESSES["x2"].verifier])
    assert parse_policy(b"quorum none\n").is_met([])
    assert NOBODY.is_met([])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no quorum line"), (LINES, "no quorum line"), ("quorum none\nquorum none", "line 2: a policy has one quorum line"),
        ("quorum w", "which is not defined above it"), (f"quorum x1\n{LINES}", "line 1: the quorum names x1"),
        (f"witness none {KEYS['x1']}\nquorum none", "the name none is taken"),
        (f"{LINES}witness x9 {KEYS['x1']}\nquorum none", "line 6: a witness's key is there twice"),
        (f"{LINES}group x1 any x2\nquorum none", "the name x1 is taken"),
        (f"{LINES}group g any x1 none\nquorum none", "names none, which is not defined"),
        (f"{LINES}group g any x1 x1\nquorum none", "x1 is a member twice"),
        (f"{LINES}group g any x1\ngroup h any x1\nquorum none", "x1 is a member twice"),
        (f"{LINES}group g 0 x1\nquorum none", "0 cannot agree"), (f"{LINES}group g 3 x1 x2\nquorum none", "3 cannot agree"),
        (f"{LINES}group g 02 x1 x2\nquorum none", "all, any or a number"), (f"{LINES}group g most x1\nquorum none", "all, any"),
        (f"{LINES}group g any\nquorum none", "not a log, witness, group or quorum line: group"),
        (f"log {KEYS['x1']}\nquorum none", "a log's key has type 01"),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none", "a log's key is there twice"),
        (f"witness w {LOG.vkey}\nquorum none", "a witness's key has type 04"),
        ("witness w nokey\nquorum none", "line 1: a vkey is name"), ("believe everybody\nquorum none", "not a log, witness"),
        ("quorum none\r\n", "control characters"), ("quorum none extra", "not a log, witness, group or quorum line"),
        ("#" * (MAX_POLICY_BYTES + 1), "too long"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_policy_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        parse_policy(text.encode())


def test_bytes_that_are_no_text_are_no_policy() -> None:
    with pytest.raises(PolicyError, match="UTF-8"):
        parse_policy(b"quorum none\n# \xff")
