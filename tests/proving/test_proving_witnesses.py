"""A hub and a witness elsewhere: made by command, asked by the worker, seen in metrics, exports and verifications."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests_support.regulating import sign
from tests_support.terminal import Terminal
from tests_support.web import Caller, free_port, look_up, served

import hub.commands.witness
from hub.clock import system_clock
from hub.context import Hub
from hub.db import writing
from hub.log.export import export_log
from hub.log.leaves import Kind, build_leaf
from hub.log.note import parse_vkey
from hub.log.store import append_leaf
from hub.log_signing import log_signer
from hub.settings import Settings
from hub.witness import keeping
from hub.witness.answering import witness_app
from hub.worker import Worker


@dataclass
class Beside:
    """A hub with a policy that wants one witness, which really listens."""

    hub: Hub
    policy: Path


@pytest.fixture
def beside(hub: Hub, tmp_path: Path) -> Iterator[Beside]:
    witness = keeping.create(tmp_path / "witness", "witness.example/w1", [log_signer(hub).vkey])
    policy = tmp_path / "policy"
    with free_port() as (bound, origin), served(witness_app(witness, system_clock), bound):
        vkey = witness.cosigner.verifier.to_vkey()
        policy.write_text(f"log {log_signer(hub).vkey}\nwitness w1 {vkey} {origin}\nquorum w1\n")
        settings = hub.settings.model_copy(update={"witness_policy": policy, "allow_loopback": True})
        yield Beside(Hub(settings=settings, engine=hub.engine, ring=hub.ring, clock=hub.clock), policy)


def note(hub: Hub) -> None:
    with writing(hub.engine) as session:
        append_leaf(session, build_leaf(Kind.WINDOW_SEALED, hub.clock(), {"window": 1}))
    sign(hub)


def figures(hub: Hub) -> list[str]:
    return [
        line for line in Caller(hub).get("/metrics").text.splitlines() if "witness" in line and not line.startswith("#")
    ]


def test_the_worker_has_the_log_witnessed_and_says_how_it_stands(beside: Beside, tmp_path: Path) -> None:
    hub = beside.hub
    note(hub)
    assert Caller(hub).get("/readyz").json()["witnesses"] == "behind"
    assert "tanlian_log_unwitnessed 1.0" in figures(hub)
    job = next(one for one in Worker(hub).jobs if one.name == "witness")
    assert (job.apart, job.ends) == (True, True)  # beside the others, and also while the log is late
    assert job.run() is True
    assert job.run() is False
    assert Caller(hub).get("/readyz").json()["witnesses"] == "current"
    assert figures(hub) == [
        'tanlian_log_witness_behind{witness="w1"} 0.0',
        'tanlian_log_witness_failing{problem="none",witness="w1"} 0.0',
        "tanlian_log_unwitnessed 0.0",
    ]
    export_log(hub.engine, tmp_path / "log")
    served_note = Caller(hub).get("/log/checkpoint")
    assert (tmp_path / "log" / "checkpoint").read_bytes() == served_note.content
    assert "witness.example/w1" in served_note.text
    assert served_note.headers["etag"]


def test_a_witness_that_is_away_is_told_and_holds_nothing_up(beside: Beside) -> None:
    hub = beside.hub
    lines = beside.policy.read_text().splitlines()
    beside.policy.write_text("\n".join([lines[0], lines[1].rpartition(" ")[0] + " http://127.0.0.1:1", lines[2]]))
    note(hub)
    worker = Worker(hub)
    assert next(one for one in worker.jobs if one.name == "witness").run() is True
    assert 'tanlian_log_witness_failing{problem="unreachable",witness="w1"} 1.0' in figures(hub)
    assert Caller(hub).get("/readyz").status_code == 200
    note(hub)
    assert look_up(hub, "SELECT size FROM log_head") == [(2,)]
    settings = hub.settings.model_copy(update={"witness_policy": None})
    without = Hub(settings=settings, engine=hub.engine, ring=hub.ring, clock=hub.clock)
    assert (figures(without), "witnesses" in Caller(without).get("/readyz").json()) == ([], False)
    assert next(one for one in Worker(without).jobs if one.name == "witness").run() is False


def test_a_witness_is_made_and_served_by_command_and_needs_no_hub(
    tanlian: Terminal, lived: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANLIAN_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(tanlian.folder / "nowhere"))
    log_key = log_signer(lived).vkey
    vkey = tanlian("witness", "init", "witness.example/w1", "--dir", "w").out.strip()
    assert parse_vkey(vkey).name == "witness.example/w1"
    assert tanlian("witness", "key", "--dir", "w").out.strip() == vkey
    assert tanlian("witness", "trust", "--log", log_key, "--dir", "w").out == "1 keys are trusted\n"
    assert "trusted already" in tanlian("witness", "trust", "--log", log_key, "--dir", "w").complaint
    assert "holds a witness already" in tanlian("witness", "init", "x", "--dir", "w").complaint
    assert "`tanlian witness init` makes one" in tanlian("witness", "serve", "--dir", "elsewhere").complaint
    ran: list[tuple[object, dict[str, object]]] = []
    monkeypatch.setattr(hub.commands.witness.uvicorn, "run", lambda app, **more: ran.append((app, more)))
    assert tanlian("witness", "serve", "--dir", "w", "--port", "7399").code == 0
    ((app, more),) = ran
    assert (more["host"], more["port"]) == ("127.0.0.1", 7399)
    with free_port() as (bound, origin), served(app, bound):  # type: ignore[arg-type]
        assert httpx.post(f"{origin}/add-checkpoint", content=b"hello", timeout=60).status_code == 400
    (tanlian.folder / "w" / "state.json").unlink()
    assert "retire its key" in tanlian("witness", "serve", "--dir", "w").complaint
    assert not (tanlian.folder / "nowhere").exists()


def test_who_verifies_a_log_can_ask_for_its_witnesses(
    tanlian: Terminal, lived: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(lived)
    tanlian("log", "export", "--dir", "log")
    witness = keeping.create(tanlian.folder / "w", "witness.example/w1", [log_signer(lived).vkey])
    tanlian.write("policy", f"witness w1 {witness.cosigner.verifier.to_vkey()}\nquorum w1\n")
    assert tanlian("log", "verify", "--dir", "log").code == 0
    complaint = tanlian("log", "verify", "--dir", "log", "--policy", "policy").complaint
    assert complaint == "0 known witnesses cosigned, which is not the quorum that the policy wants"
    monkeypatch.setenv("TANLIAN_WITNESS_POLICY", str(tanlian.folder / "policy"))
    told = tanlian("witness", "status", "--json").json
    assert (told["quorum"], told["witnessed_size"], told["witnesses"][0]["witness"]) == ("w1", 0, "w1")
    assert "quorum w1: 0 of " in tanlian("witness", "status").out
    monkeypatch.setenv("TANLIAN_WITNESS_POLICY", "missing")
    assert "TANLIAN_WITNESS_POLICY: missing cannot be read" in tanlian("witness", "status").complaint
    assert Settings(_env_file=None).witness_policy == Path("missing")
