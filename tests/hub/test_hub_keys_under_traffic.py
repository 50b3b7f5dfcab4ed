"""A key changes while other processes deliver, clear, read and sign: nothing fails, and nothing counts twice."""

import threading
import time
from collections.abc import Callable

import pytest
from tests_support.deliveries import delivery
from tests_support.rotating import (
    NOW,
    another_process,
    live,
    nothing,
    open_beijing,
    require_readable,
    require_sound,
    ride,
    rows,
    sequence,
)

import consent.keyring
from consent.link_access import open_access
from consent.links import load_links
from consent.people import add_person
from hub.changes import log_change
from hub.context import Hub
from hub.db import reading, writing
from hub.keys.rotation import (
    KeyKind,
    Rotated,
    count_hanging,
    rotate_key_encryption,
    rotate_log,
    rotate_pairwise,
    rotate_signing,
)
from hub.log.leaves import Kind
from hub.pipeline import clear_dirty, take_delivery
from hub.portal.account import load_account


class Traffic:
    """Other processes at work: each delivers, reads accounts, signs up people and signs the log until told to stop."""

    def __init__(self, hub: Hub, subject_id: int) -> None:
        self.hub, self.subject_id = hub, subject_id
        self.stopping = threading.Event()
        self.failures: list[BaseException] = []
        self.turns = [0, 0, 0]
        jobs: list[Callable[[Hub, int], None]] = [self._deliver, self._deliver_and_clear, self._people_and_log]
        self._threads = [threading.Thread(target=self._run, args=(number, job)) for number, job in enumerate(jobs)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def wait_for_turns(self, more: int) -> None:
        """Let every process finish some more turns."""
        wanted = [turns + more for turns in self.turns]
        until = time.monotonic() + 60
        while not self.failures and any(have < want for have, want in zip(self.turns, wanted, strict=True)):
            assert time.monotonic() < until, "traffic has stopped"
            threading.Event().wait(0.005)

    def _run(self, number: int, job: Callable[[Hub, int], None]) -> None:
        process = another_process(self.hub)
        try:
            while not self.stopping.is_set():
                job(process, self.turns[number])
                self.turns[number] += 1
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            process.engine.dispose()

    def _deliver(self, hub: Hub, turn: int) -> None:
        """Old rows and new ones, every turn one more; both writers send the same rows under other names."""
        sent = [ride(number % 250) for number in range(max(turn - 2, 0), turn + 1)]
        for _ in range(5):
            try:
                take_delivery(hub, open_beijing(hub), delivery(f"{id(hub)}-{turn}", ride(1), *sent), now=NOW)
                return
            except Exception as failure:
                if not lost(failure):
                    raise

    def _deliver_and_clear(self, hub: Hub, turn: int) -> None:
        self._deliver(hub, turn)
        clear_dirty(hub, now=NOW)
        with reading(hub.engine) as session:
            load_account(session, self.subject_id)
            (link,) = load_links(session, subject_id=self.subject_id)
            assert open_access(session, hub.ring, link).account == "bj-1"

    def _people_and_log(self, hub: Hub, turn: int) -> None:
        with writing(hub.engine) as session:
            name = f"person-{turn}"
            add_person(session, hub.ring, username=name, password=None, display_name=name, now=NOW)
            log_change(session, Kind.ACCESS_MADE, f"turn-{turn}", NOW, {"turn_count": turn})
        sequence(hub)
        assert hub.ring.signing_key.kid


def lost(failure: Exception) -> bool:
    from hub.records.races import lost_a_race

    return lost_a_race(failure)


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_key_changes_under_traffic_without_one_failure(
    hub: Hub, kind: KeyKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent.keyring, "LOOK_EVERY_S", 0.02)
    subject_id = live(hub)
    with Traffic(hub, subject_id) as traffic:

        def settle() -> None:
            threading.Event().wait(0.05)

        rotations: dict[KeyKind, Callable[[], Rotated]] = {
            KeyKind.KEY_ENCRYPTION: lambda: rotate_key_encryption(hub, settle=settle),
            KeyKind.SIGNING: lambda: rotate_signing(hub, at_once=True),
            KeyKind.LOG: lambda: rotate_log(hub),
            KeyKind.ATTESTATION: lambda: rotate_signing(hub, at_once=True, kind=KeyKind.ATTESTATION),
            KeyKind.PAIRWISE: lambda: rotate_pairwise(hub, settle=settle),
        }
        traffic.wait_for_turns(2)
        for _ in range(2):
            rotations[kind]()
            traffic.wait_for_turns(2)
    assert traffic.failures == []
    require_readable(hub, subject_id)
    delivered = {number % 250 for turns in traffic.turns[:2] for number in range(turns)} | {1, 2}
    assert rows(hub, "SELECT COUNT(*), COUNT(DISTINCT source_id) FROM source_record") == [
        (len(delivered), len(delivered))
    ]
    if kind is KeyKind.KEY_ENCRYPTION:
        # A transaction that lasted longer than the settling leaves values behind: the next rotation moves them.
        rotate_key_encryption(hub, settle=nothing)
        older = [key.key_id for key in hub.ring.encryption[:-1]]
        assert older
        assert [count_hanging(hub, key_id) for key_id in older] == [0] * len(older)
    sequence(hub)
    require_sound(hub)
