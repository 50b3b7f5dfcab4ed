"""The signer of this hub's interconnection log. I/O: the key ring, which follows its directory."""

from dataclasses import dataclass

from consent.keyring import KeyRing
from hub.context import Hub
from hub.log.note import LogSigner, NoteError, VerifierKey, open_note


@dataclass(frozen=True, slots=True, kw_only=True)
class RingSigner:
    """Signs with every log key of the ring, newest first, so that who knows only one of them can verify.

    All keys have the log's origin as their name and differ by key id. The keys are asked for at each signature: a new
    one signs from the next checkpoint on.
    """

    name: str
    ring: KeyRing

    @property
    def verifier(self) -> VerifierKey:
        """Return the newest key, for whoever begins to verify now."""
        return self.verifiers[0]

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """Return all keys that sign, newest first."""
        return tuple(signer.verifier for signer in self._signers())

    @property
    def vkey(self) -> str:
        """Return the newest key's verifier key line."""
        return self.verifier.to_vkey()

    def sign_note(self, text: str) -> bytes:
        """Return the note with a signature line of each key. Deterministic while the keys stay the same."""
        return f"{text}\n{''.join(signer.sign_line(text) for signer in self._signers())}".encode()

    def vkey_for(self, note: bytes) -> str:
        """Return the verifier key line to read this note with: the newest of ours that signed it, or just the newest."""
        try:
            return open_note(note, self.verifiers).signed_by[0].to_vkey()
        except NoteError:
            return self.vkey

    def _signers(self) -> list[LogSigner]:
        return [LogSigner(self.name, seed.secret) for seed in reversed(self.ring.log_seeds)]


def log_signer(hub: Hub) -> RingSigner:
    """Return the signer whose name is the log's origin."""
    return RingSigner(name=hub.settings.log_origin, ring=hub.ring)
