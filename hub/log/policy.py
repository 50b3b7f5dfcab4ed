"""Which logs and witnesses are believed, and how many of the witnesses have to agree. Pure. Source: C2SP tlog-policy.

One file serves everybody: the hub asks the witnesses in it that have an address, and whoever verifies a checkpoint or a
proof holds it to the quorum.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hub.errors import TanlianError
from hub.log.note import Algorithm, NoteError, VerifierKey, parse_vkey

NO_QUORUM = "none"
MAX_POLICY_BYTES = 64 * 1024
MAX_LINES = 1_000


class PolicyError(TanlianError):
    """The file is no policy; the text names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One witness of a policy; `url` is its submission prefix, None if it is only verified and never asked."""

    name: str
    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Witnesses and groups of which `threshold` have to agree."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessPolicy:
    """A parsed policy."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[Witness, ...]
    groups: dict[str, Group]
    quorum: str

    def is_met(self, signed_by: Iterable[VerifierKey]) -> bool:
        """Tell whether the keys whose signatures were verified make the quorum."""
        if self.quorum == NO_QUORUM:
            return True
        keys = {key.public_key for key in signed_by if key.algorithm is Algorithm.COSIGNATURE_V1}
        agreed = {one.name for one in self.witnesses if one.key.public_key in keys}
        # A group names what was defined above it only, so one pass in order of definition is enough.
        for name, group in self.groups.items():
            if sum(member in agreed for member in group.members) >= group.threshold:
                agreed.add(name)
        return self.quorum in agreed

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """Return the witnesses' keys."""
        return tuple(one.key for one in self.witnesses)


NOBODY = WitnessPolicy(logs=(), witnesses=(), groups={}, quorum=NO_QUORUM)


def parse_policy(data: bytes) -> WitnessPolicy:
    """Return the policy of a file.

    Raises:
        PolicyError: a line is malformed, names what is not defined above it, or repeats a key or a name.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyError("the policy is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise PolicyError("the policy is not UTF-8") from None
    if any(character < " " and character not in "\t\n" for character in text):
        raise PolicyError("the policy has control characters")
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), 1):
        words = line.replace("\t", " ").split(" ")
        told = [word for word in words if word]
        if told and not told[0].startswith("#"):
            try:
                reader.read(told)
            except NoteError as cause:
                raise PolicyError(f"line {number}: {cause}") from None
            except PolicyError as cause:
                raise PolicyError(f"line {number}: {cause}") from None
    return reader.finish()


class _Reader:
    """Takes the lines in order."""

    def __init__(self) -> None:
        self._logs: list[VerifierKey] = []
        self._witnesses: list[Witness] = []
        self._groups: dict[str, Group] = {}
        self._quorum: str | None = None
        self._grouped: set[str] = set()

    def read(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(parse_vkey(vkey))
            case ["witness", name, vkey]:
                self._witness(Witness(name=name, key=parse_vkey(vkey), url=None))
            case ["witness", name, vkey, url]:
                self._witness(Witness(name=name, key=parse_vkey(vkey), url=url))
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                self._set_quorum(name)
            case _:
                raise PolicyError(f"not a log, witness, group or quorum line: {words[0][:40]}")

    def finish(self) -> WitnessPolicy:
        if self._quorum is None:
            raise PolicyError("the policy has no quorum line (`quorum none` asks for no witness)")
        return WitnessPolicy(
            logs=tuple(self._logs), witnesses=tuple(self._witnesses), groups=self._groups, quorum=self._quorum
        )

    def _log(self, key: VerifierKey) -> None:
        if key.algorithm is not Algorithm.ED25519:
            raise PolicyError("a log's key has type 01")
        if any(key.public_key == other.public_key for other in self._logs):
            raise PolicyError("a log's key is there twice")
        self._logs.append(key)

    def _witness(self, witness: Witness) -> None:
        if witness.key.algorithm is not Algorithm.COSIGNATURE_V1:
            raise PolicyError("a witness's key has type 04")
        if any(witness.key.public_key == other.key.public_key for other in self._witnesses):
            raise PolicyError("a witness's key is there twice")
        self._new_name(witness.name)
        self._witnesses.append(witness)

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            if not self._is_defined(member):
                raise PolicyError(f"the group names {member[:40]}, which is not defined above it")
            if member in self._grouped:
                raise PolicyError(f"{member[:40]} is a member twice: each counts once")
            self._grouped.add(member)
        if threshold not in ("all", "any") and not (threshold.isdecimal() and str(int(threshold[:6])) == threshold):
            raise PolicyError("a group's threshold is all, any or a number")
        needed = {"all": len(members), "any": 1}.get(threshold) or int(threshold)
        if not 1 <= needed <= len(members):
            raise PolicyError(f"the group has {len(members)} members, {needed} cannot agree")
        self._new_name(name)
        self._groups[name] = Group(threshold=needed, members=tuple(members))

    def _set_quorum(self, name: str) -> None:
        if self._quorum is not None:
            raise PolicyError("a policy has one quorum line")
        if name != NO_QUORUM and not self._is_defined(name):
            raise PolicyError(f"the quorum names {name[:40]}, which is not defined above it")
        self._quorum = name

    def _new_name(self, name: str) -> None:
        if name == NO_QUORUM or self._is_defined(name):
            raise PolicyError(f"the name {name[:40]} is taken")

    def _is_defined(self, name: str) -> bool:
        return name in self._groups or any(name == one.name for one in self._witnesses)
