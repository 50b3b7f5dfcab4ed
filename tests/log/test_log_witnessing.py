"""The log and its witnesses: who is asked when, what is kept and served, and that the log goes on whatever they do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests_support.web import free_port, served

from connectors.base import RetryLater, SetAside
from connectors.net.egress import Answer
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.log.bundles import open_witnessed
from hub.log.checkpoint import parse_unverified, sign_checkpoint
from hub.log.cosigned import load_served_checkpoint, load_witnessed
from hub.log.note import LogSigner, NoteError
from hub.log.policy import WitnessPolicy, parse_policy
from hub.log.sequencer import Sequencer
from hub.log.store import load_checkpoint
from hub.log.witness_protocol import SIZE_TYPE
from hub.log.witnessing import (
    AGAIN,
    LONGEST_WAIT,
    Problem,
    Round,
    Witnessing,
    connect_safely,
    load_policy,
    load_standing,
)
from hub.witness import keeping
from hub.witness.answering import answer_add, witness_app
from hub.witness.keeping import WitnessFolder

Append = Callable[..., None]


@dataclass
class Elsewhere:
    """Three witnesses somewhere else, and what becomes of what is sent to each."""

    folders: dict[str, WitnessFolder]
    now: datetime
    instead: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    @contextmanager
    def connect(self, url: str) -> Iterator["Elsewhere"]:
        yield self

    def fetch(
        self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        name = url.split("/")[2].partition(".")[0]
        assert (method, url) == ("POST", f"https://{name}.example/add-checkpoint")
        self.requests.append((name, content or b""))
        if name in self.instead:
            return self.instead[name]()
        answered = answer_add(self.folders[name], content or b"", now_s=int(self.now.timestamp()))
        return Answer(status=answered.status, headers={"content-type": answered.kind}, body=answered.body)


@pytest.fixture
def elsewhere(tmp_path: Path, signer: LogSigner, now: datetime) -> Elsewhere:
    names = ("w1", "w2", "w3")
    return Elsewhere({name: keeping.create(tmp_path / name, f"{name}.example", [signer.vkey]) for name in names}, now)


@pytest.fixture
def policy(elsewhere: Elsewhere) -> WitnessPolicy:
    lines = [
        f"witness {name} {one.cosigner.verifier.to_vkey()} https://{name}.example/"
        for name, one in elsewhere.folders.items()
    ]
    return parse_policy("\n".join([*lines, "group most 2 w1 w2 w3", "quorum most"]).encode())


@pytest.fixture
def witnessing(engine: Engine, signer: LogSigner, policy: WitnessPolicy, elsewhere: Elsewhere) -> Witnessing:
    return Witnessing(engine, signer, policy, elsewhere.connect)


def step(witnessing: Witnessing, now: datetime) -> Round:
    done = witnessing.step(now)
    assert done is not None
    return done


def served_by(engine: Engine, signer: LogSigner, policy: WitnessPolicy) -> tuple[int, tuple[str, ...]]:
    """Return the size that is served, and who cosigned it."""
    with reading(engine) as session:
        note = load_served_checkpoint(session)
    assert note is not None
    lax = parse_policy(
        b"".join(b"witness %s %s\n" % (w.name.encode(), w.key.to_vkey().encode()) for w in policy.witnesses)
        + b"quorum none"
    )
    checkpoint, names = open_witnessed(note, [signer.verifier], lax)
    return checkpoint.size, names


def problems(done: Round) -> dict[str, Problem | None]:
    return {one.witness.name: one.problem for one in done.asked}


def test_what_has_grown_is_cosigned_served_and_kept(
    engine: Engine, append: Append, sequencer: Sequencer, signer: LogSigner, policy: WitnessPolicy,
    witnessing: Witnessing, elsewhere: Elsewhere, now: datetime,
) -> None:  # fmt: skip
    assert witnessing.step(now) is None  # nothing was ever signed
    append(3)
    sequencer.run_once(now)
    assert served_by(engine, signer, policy) == (3, ())
    done = step(witnessing, now)
    assert (done.size, done.quorum, problems(done)) == (3, True, {"w1": None, "w2": None, "w3": None})
    assert served_by(engine, signer, policy) == (3, ("w1.example", "w2.example", "w3.example"))
    assert witnessing.step(now + timedelta(minutes=1)) is None  # they have nothing new to see
    append(300)
    sequencer.run_once(now)
    # What they said is of the older tree: it is not served with the newer one, and is kept as witnessed.
    assert served_by(engine, signer, policy) == (303, ())
    with reading(engine) as session:
        witnessed = load_witnessed(session)
        standing = load_standing(session, policy)
    assert witnessed is not None
    assert open_witnessed(witnessed, [signer.verifier], policy)[0].size == 3
    assert (standing.size, standing.witnessed_size, [one.behind for one in standing.witnesses]) == (303, 3, [300] * 3)
    before = len(elsewhere.requests)
    assert step(witnessing, now + timedelta(seconds=1)).quorum
    # Each was asked once, from where it stood.
    assert [body.partition(b"\n")[0] for _, body in elsewhere.requests[before:]] == [b"old 3"] * 3
    assert served_by(engine, signer, policy)[0] == 303
    assert (
        len(step(witnessing, now + AGAIN + timedelta(minutes=1)).asked) == 3
    )  # and again, so that their word is fresh


def test_a_checkpoint_is_witnessed_when_the_quorum_is_there_and_not_before(
    engine: Engine, append: Append, sequencer: Sequencer, signer: LogSigner, policy: WitnessPolicy,
    witnessing: Witnessing, elsewhere: Elsewhere, now: datetime,
) -> None:  # fmt: skip
    def away() -> Answer:
        raise RetryLater("unreachable", after_s=1)

    elsewhere.instead = {"w2": away, "w3": away}
    append(5)
    sequencer.run_once(now)
    done = step(witnessing, now)
    assert (done.quorum, problems(done)) == (False, {"w1": None, "w2": Problem.UNREACHABLE, "w3": Problem.UNREACHABLE})
    with reading(engine) as session:
        assert load_witnessed(session) is None
    assert served_by(engine, signer, policy) == (5, ("w1.example",))
    # The two are left alone for a while; the log does not wait for them.
    assert witnessing.step(now + timedelta(seconds=1)) is None
    elsewhere.instead = {"w3": away}
    done = step(witnessing, now + timedelta(seconds=3))
    assert (done.quorum, problems(done)) == (True, {"w2": None, "w3": Problem.UNREACHABLE})
    with reading(engine) as session:
        assert open_witnessed(load_witnessed(session) or b"", [signer.verifier], policy)[1] == (
            "w1.example",
            "w2.example",
        )
    at, waits = now, []
    for _ in range(14):
        at += LONGEST_WAIT
        asked = witnessing.step(at)
        waits.append(asked is not None)
    assert all(waits)


def test_an_older_checkpoint_never_takes_the_place_of_a_newer_witnessed_one(
    engine: Engine, append: Append, sequencer: Sequencer, witnessing: Witnessing, now: datetime
) -> None:
    append(5)
    sequencer.run_once(now)
    step(witnessing, now)
    with reading(engine) as session:
        older = load_witnessed(session)
    append(5)
    sequencer.run_once(now)
    step(witnessing, now + timedelta(seconds=1))
    with writing(engine) as session:
        session.execute(text("UPDATE log_witness SET size = 5, root = :r"), {"r": parse_unverified(older or b"").root})
        witnessing._keep_quorum(session, older or b"", now)
        assert parse_unverified(load_witnessed(session) or b"").size == 10


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(status=400, headers={}, body=b""), Problem.BAD_REQUEST),
        (Answer(status=403, headers={}, body=b""), Problem.KEY_NOT_TRUSTED),
        (Answer(status=404, headers={}, body=b""), Problem.UNKNOWN_LOG),
        (Answer(status=409, headers={}, body=b"7\n"), Problem.FORKED),
        (Answer(status=409, headers={"content-type": SIZE_TYPE}, body=b"07\n"), Problem.FORKED),
        (Answer(status=409, headers={"content-type": SIZE_TYPE}, body=b"\xff\n"), Problem.FORKED),
        (Answer(status=409, headers={"content-type": SIZE_TYPE}, body=b"99\n"), Problem.AHEAD),
        (Answer(status=409, headers={"content-type": SIZE_TYPE}, body=b"3\n"), Problem.MOVING),
        (Answer(status=422, headers={}, body=b""), Problem.PROOF_REFUSED),
        (Answer(status=418, headers={}, body=b""), Problem.WRONG_ANSWER),
        (Answer(status=500, headers={}, body=b""), Problem.UNREACHABLE),
        (Answer(status=200, headers={}, body=b""), Problem.WRONG_ANSWER),
        (Answer(status=200, headers={}, body=b"\xe2\x80\x94 w1.example AAAA\n"), Problem.WRONG_ANSWER),
        (Answer(status=200, headers={}, body=b"x" * 20_000), Problem.WRONG_ANSWER),
        (RetryLater("unreachable", after_s=1), Problem.UNREACHABLE),
        (SetAside("answer_refused"), Problem.WRONG_ANSWER),
    ],
)
def test_whatever_a_witness_answers_the_others_cosign_and_the_log_goes_on(
    engine: Engine, append: Append, sequencer: Sequencer, signer: LogSigner, policy: WitnessPolicy,
    witnessing: Witnessing, elsewhere: Elsewhere, now: datetime, answer: Answer | Exception, problem: Problem,
) -> None:  # fmt: skip
    def reply() -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    elsewhere.instead = {"w1": reply}
    append(7)
    sequencer.run_once(now)
    done = step(witnessing, now)
    assert (problems(done), done.quorum) == ({"w1": problem, "w2": None, "w3": None}, True)
    assert len([name for name, _ in elsewhere.requests if name == "w1"]) <= 3
    assert served_by(engine, signer, policy) == (7, ("w2.example", "w3.example"))
    with reading(engine) as session:
        (first, *_) = load_standing(session, policy).witnesses
    assert (first.problem, first.behind, first.cosigned_at) == (str(problem), 7, None)
    append(1)
    assert sequencer.run_once(now).size == 8


def test_another_witness_s_or_another_tree_s_cosignature_is_not_kept(
    append: Append, sequencer: Sequencer, signer: LogSigner, witnessing: Witnessing, elsewhere: Elsewhere, now: datetime
) -> None:
    append(7)
    note = sequencer.run_once(now).checkpoint
    body = note.decode().partition("\n\n")[0] + "\n"
    elsewhere.instead = {
        "w1": lambda: Answer(
            status=200, headers={}, body=elsewhere.folders["w2"].cosigner.cosign(body, 1).line.encode()
        ),
        "w2": lambda: Answer(
            status=200, headers={}, body=elsewhere.folders["w2"].cosigner.cosign(body + "x\n", 1).line.encode()
        ),
    }
    assert problems(step(witnessing, now)) == {"w1": Problem.WRONG_ANSWER, "w2": Problem.WRONG_ANSWER, "w3": None}


def test_a_restored_database_is_told_apart_by_witnesses_that_saw_more(
    engine: Engine, append: Append, sequencer: Sequencer, signer: LogSigner, witnessing: Witnessing,
    elsewhere: Elsewhere, now: datetime,
) -> None:  # fmt: skip
    append(5)
    sequencer.run_once(now)
    longer = sign_checkpoint(signer, size=9, root=b"\x01" * 32)
    other = sign_checkpoint(signer, size=5, root=b"\x02" * 32)
    for name, seen in (("w1", longer), ("w2", other)):
        assert answer_add(elsewhere.folders[name], b"old 0\n\n" + seen, now_s=1).status == 200
    assert problems(step(witnessing, now)) == {"w1": Problem.AHEAD, "w2": Problem.FORKED, "w3": None}
    append(5)
    sequencer.run_once(now)
    later = step(witnessing, now + timedelta(seconds=10))
    assert problems(later) == {"w1": Problem.PROOF_REFUSED, "w2": Problem.PROOF_REFUSED, "w3": None}


def test_two_that_ask_at_once_claim_each_witness_once(
    engine: Engine, append: Append, sequencer: Sequencer, signer: LogSigner, policy: WitnessPolicy,
    elsewhere: Elsewhere, witnessing: Witnessing, now: datetime,
) -> None:  # fmt: skip
    second = Witnessing(engine, signer, policy, elsewhere.connect)
    append(2)
    note = sequencer.run_once(now).checkpoint
    elsewhere.instead = {"w1": lambda: [second.step(now), Answer(status=503, headers={}, body=b"")][1]}  # type: ignore[list-item,return-value]
    assert len(step(witnessing, now).asked) == 3
    assert len(elsewhere.requests) == 3
    with reading(engine) as session:
        assert load_checkpoint(session) == note


def test_over_the_network_a_witness_is_reached_as_platforms_are(
    engine: Engine, append: Append, sequencer: Sequencer, signer: LogSigner, elsewhere: Elsewhere, now: datetime
) -> None:
    append(4)
    sequencer.run_once(now)
    folder = elsewhere.folders["w1"]
    with free_port() as (bound, origin), served(witness_app(folder, lambda: now), bound):
        policy = parse_policy(f"witness w1 {folder.cosigner.verifier.to_vkey()} {origin}\nquorum w1\n".encode())
        refused = Witnessing(engine, signer, policy, connect_safely(allow_loopback=False))
        assert problems(step(refused, now)) == {"w1": Problem.REFUSED_TARGET}
        done = step(Witnessing(engine, signer, policy, connect_safely(allow_loopback=True)), now + timedelta(minutes=1))
        assert (problems(done), done.quorum) == ({"w1": None}, True)
    gone = step(Witnessing(engine, signer, policy, connect_safely(allow_loopback=True)), now + timedelta(hours=2))
    assert problems(gone) == {"w1": Problem.UNREACHABLE}
    inside = parse_policy(f"witness w1 {folder.cosigner.verifier.to_vkey()} https://10.0.0.1/\nquorum w1\n".encode())
    asked = step(Witnessing(engine, signer, inside, connect_safely(allow_loopback=True)), now + timedelta(hours=4))
    assert problems(asked) == {"w1": Problem.REFUSED_TARGET}


def test_a_policy_comes_from_a_file_and_without_one_nobody_is_asked(
    tmp_path: Path,
    engine: Engine,
    append: Append,
    sequencer: Sequencer,
    signer: LogSigner,
    elsewhere: Elsewhere,
    now: datetime,
) -> None:
    append(1)
    sequencer.run_once(now)
    assert Witnessing(engine, signer, load_policy(None), elsewhere.connect).step(now) is None
    with pytest.raises(UsageProblem, match="cannot be read"):
        load_policy(tmp_path / "missing")
    (tmp_path / "policy").write_text("quorum x")
    with pytest.raises(UsageProblem, match="TANLIAN_WITNESS_POLICY: line 1"):
        load_policy(tmp_path / "policy")
    with reading(engine) as session:
        note = load_checkpoint(session) or b""
    key = elsewhere.folders["w1"].cosigner.verifier.to_vkey()
    wanted = parse_policy(f"witness w {key}\nquorum w".encode())
    with pytest.raises(NoteError, match="quorum"):
        open_witnessed(note, [signer.verifier], wanted)
