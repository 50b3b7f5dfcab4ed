"""One witness beside a hub, without a network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.net.egress import Answer
from hub.context import Hub
from hub.log.policy import WitnessPolicy, parse_policy
from hub.log.witnessing import Witnessing
from hub.log_signing import log_signer
from hub.witness import keeping
from hub.witness.answering import answer_add
from hub.witness.keeping import WitnessFolder


class Direct:
    """Hands requests to the witness itself."""

    def __init__(self, folder: WitnessFolder, now_s: int) -> None:
        self.folder, self.now_s = folder, now_s

    def fetch(
        self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        answered = answer_add(self.folder, content or b"", now_s=self.now_s)
        return Answer(status=answered.status, headers={"content-type": answered.kind}, body=answered.body)


@contextmanager
def witnessed(hub: Hub, folder: Path) -> Iterator[tuple[WitnessPolicy, Callable[[], bool]]]:
    """Give a policy of one witness that must cosign, and what asks it; True if the quorum is there afterwards."""
    signer = log_signer(hub)
    witness = keeping.create(folder / "witness", "witness.example/w1", [signer.vkey])
    vkey = witness.cosigner.verifier.to_vkey()
    policy = parse_policy(f"witness w1 {vkey} https://witness.example\nquorum w1\n".encode())

    @contextmanager
    def connect(_url: str) -> Iterator[Direct]:
        yield Direct(witness, int(hub.clock().timestamp()))

    def ask() -> bool:
        done = Witnessing(hub.engine, signer, policy, connect).step(hub.clock())
        return done is not None and done.quorum

    yield policy, ask
