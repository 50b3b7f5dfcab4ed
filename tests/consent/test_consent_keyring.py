"""Keys and seals: created once, private, named, bound to their place."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consent.keyfiles import create_if_absent, end_waits, set_aside
from consent.keyring import (
    KeyPurpose,
    KeyRing,
    KeyRingError,
    add_key,
    load_client_key,
    load_keyring,
)
from consent.seal import SealError, place


def test_a_ring_is_created_once_and_loads_the_same_again(tmp_path: Path) -> None:
    first, second = load_keyring(tmp_path / "k"), load_keyring(tmp_path / "k")
    assert second.open(first.seal(b"value", b"place"), b"place") == b"value"
    assert second.log_seed == first.log_seed
    assert second.signing_key.thumbprint() == first.signing_key.thumbprint()
    assert [second.hmac_key(p) for p in KeyPurpose] == [first.hmac_key(p) for p in KeyPurpose]
    assert len({first.hmac_key(p) for p in KeyPurpose} | {first.log_seed}) == len(KeyPurpose) + 1


def test_key_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    load_keyring(tmp_path / "k")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "k").iterdir()} == {0o600}
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_keyring(tmp_path / "k")
    os.chmod(tmp_path / "k", 0o750)
    with pytest.raises(KeyRingError):
        load_keyring(tmp_path / "k")


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> None:
        barrier.wait()
        create_if_absent(tmp_path / "kek-0001.key", f"{number:064x}".encode())

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["kek-0001.key"]
    assert len((tmp_path / "kek-0001.key").read_bytes()) == 64


def test_a_rotated_ring_opens_what_the_old_key_sealed_and_seals_with_the_new(tmp_path: Path) -> None:
    ring = load_keyring(tmp_path / "k")
    sealed = ring.seal(b"value", b"place")
    assert ring.kek_id == "kek-0001"
    new = add_key(ring, "kek")
    assert (ring.kek_id, new.kek_id) == ("kek-0002", "kek-0002")
    assert ring.open(sealed, b"place") == new.open(sealed, b"place") == b"value"


def test_another_process_opens_what_a_key_sealed_that_is_younger_than_its_last_look(tmp_path: Path) -> None:
    ring, elsewhere = load_keyring(tmp_path / "k"), load_keyring(tmp_path / "k")
    new = add_key(ring, "kek")
    assert elsewhere.open(new.seal(b"value", b"place"), b"place") == b"value"
    assert elsewhere.kek_id == "kek-0002"


def test_another_process_takes_a_new_key_up_at_its_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring, elsewhere = load_keyring(tmp_path / "k"), load_keyring(tmp_path / "k")
    add_key(ring, "kek")
    add_key(ring, "log")
    monkeypatch.setattr("consent.keyring.LOOK_EVERY_S", 0.0)
    assert elsewhere.kek_id == "kek-0002"
    assert [key.key_id for key in elsewhere.log_seeds] == ["log-0001", "log-0002"]


def test_a_key_that_waits_is_published_and_does_not_sign(tmp_path: Path) -> None:
    ring = load_keyring(tmp_path / "k")
    add_key(ring, "oauth", waits_until=datetime(2026, 11, 21, tzinfo=UTC))
    assert [key.kid for key in ring.oauth] == ["oauth-0001", "oauth-0002"]
    assert ring.signing_key.kid == "oauth-0001"
    end_waits(ring.directory, "oauth-0002")
    ring.refresh()
    assert ring.signing_key.kid == "oauth-0002"


def test_a_retired_key_is_kept_aside_and_its_number_is_never_given_again(tmp_path: Path) -> None:
    ring = load_keyring(tmp_path / "k")
    add_key(ring, "kek")
    add_key(ring, "kek")
    set_aside(ring.directory, "kek-0003")
    ring.refresh()
    assert ring.kek_id == "kek-0002"
    assert (tmp_path / "k" / "retired" / "kek-0003.key").exists()
    assert add_key(ring, "kek").kek_id == "kek-0004"


def test_a_directory_that_goes_away_leaves_the_keys_and_makes_no_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = load_keyring(tmp_path / "k")
    sealed = ring.seal(b"value", b"place")
    monkeypatch.setattr("consent.keyring.LOOK_EVERY_S", 0.0)
    (tmp_path / "k").rename(tmp_path / "away")
    assert ring.open(sealed, b"place") == b"value"
    (tmp_path / "k").mkdir(mode=0o700)
    assert ring.kek_id == "kek-0001"
    assert list((tmp_path / "k").iterdir()) == []


def test_keys_whose_values_are_found_by_computing_them_again_cannot_be_replaced(ring: KeyRing) -> None:
    for purpose in set(KeyPurpose) - {KeyPurpose.PAIRWISE}:
        with pytest.raises(KeyRingError):
            add_key(ring, f"hmac-{purpose}")


def test_what_is_computed_again_is_the_same_after_a_rotation(ring: KeyRing) -> None:
    before = ring.digest(KeyPurpose.PAIRWISE, "client", "subject")
    assert add_key(ring, "hmac-pairwise").digest(KeyPurpose.PAIRWISE, "client", "subject") == before
    assert [key.key_id for key in ring.pairwise_keys] == ["hmac-pairwise-0001", "hmac-pairwise-0002"]


@pytest.mark.parametrize("kind", ["kek", "log", "oauth", "attestation", "hmac-pairwise"])
def test_each_kind_rotates_to_the_next_number(tmp_path: Path, kind: str) -> None:
    add_key(load_keyring(tmp_path / "k"), kind)
    assert sorted(path.name for path in (tmp_path / "k").glob(f"{kind}-*")) == [f"{kind}-0001.key", f"{kind}-0002.key"]


def test_an_unknown_kind_is_refused(ring: KeyRing) -> None:
    with pytest.raises(KeyRingError):
        add_key(ring, "../kek")


def test_the_repr_of_a_ring_shows_no_secret(ring: KeyRing) -> None:
    shown = repr(ring)
    assert ring.log_seed.hex() not in shown
    assert repr(ring.log_seed) not in shown
    assert "secret" not in shown


def test_any_changed_byte_keeps_a_seal_from_opening(ring: KeyRing) -> None:
    sealed = ring.seal(b"value", b"place")
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1
        with pytest.raises(SealError):
            ring.open(bytes(broken), b"place")


@pytest.mark.parametrize("length", [0, 2, 3, 20, 38])
def test_a_cut_seal_does_not_open(ring: KeyRing, length: int) -> None:
    with pytest.raises(SealError):
        ring.open(ring.seal(b"", b"place")[:length], b"place")


def test_two_places_never_read_the_same() -> None:
    places = {place("link", "a", "bc", 1), place("link", "ab", "c", 1), place("link", "a", "bc1", None)}
    assert len(places | {place("link", "a", "bc", None), place("link", "a", "b", 1)}) == 5


def test_a_digest_depends_on_the_purpose_and_on_how_the_text_is_split(ring: KeyRing) -> None:
    digests = {
        ring.digest(KeyPurpose.ACCOUNT, "ab", "c"),
        ring.digest(KeyPurpose.ACCOUNT, "a", "bc"),
        ring.digest(KeyPurpose.EVENT, "ab", "c"),
    }
    assert len(digests) == 3


def test_every_platform_is_signed_to_with_a_key_of_its_own(ring: KeyRing) -> None:
    one, other = load_client_key(ring, "citic-carbon"), load_client_key(ring, "kuaidian")
    assert one.thumbprint() != other.thumbprint()
    assert load_client_key(ring, "citic-carbon").thumbprint() == one.thumbprint()


@pytest.mark.parametrize("name", ["../x", "A", "", "a/b", "x" * 80])
def test_a_platform_id_cannot_name_another_file(ring: KeyRing, name: str) -> None:
    with pytest.raises(KeyRingError):
        load_client_key(ring, name)
