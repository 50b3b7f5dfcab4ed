"""JWTs whose claims can be shown one by one: hidden behind salted digests, shown in part, opened again. Pure, but for salts.

    <issuer-signed JWT>~<disclosure>~...~[<key binding JWT>]

A disclosure is the base64url of ["salt", "name", value]; the signed part holds only its SHA-256, so what is not shown is
guessed by nobody who has not the 128 random bits of its salt. Source: RFC 9901, sections 4 (form), 7.1 (opening).
"""

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from hub.attestations.jwt import decode_part, encode_part

SEPARATOR = "~"
DIGESTS, ELEMENT, ALGORITHM = "_sd", "...", "_sd_alg"
HASH = "sha-256"
SALT_BYTES = 16
MOST_DEPTH = 8
MOST_DISCLOSURES = 512


class SdJwtInvalid(ValueError):
    """Not of the form of RFC 9901, or its disclosures do not fit the signed part; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """One claim with its salt; `name` is None for an element of an array."""

    text: str
    name: str | None
    value: Any = field(repr=False)

    @property
    def digest(self) -> str:
        return digest_of(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """The three parts of an SD-JWT as text; `binding` is the holder's key binding JWT or empty."""

    signed: str
    disclosures: tuple[str, ...]
    binding: str

    @property
    def unbound(self) -> str:
        """All but the key binding JWT: what that one signs the digest of."""
        return SEPARATOR.join([self.signed, *self.disclosures, ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is shown: the claims with all disclosures in their places, and each disclosure by the path to its claim."""

    claims: dict[str, Any]
    paths: dict[str, Disclosure]
    hidden: int


def digest_of(text: str) -> str:
    """Return the base64url of the SHA-256 of ASCII text."""
    return encode_part(sha256(text.encode("ascii")).digest())


def hide(claims: Mapping[str, Any], *, decoys: int = 0) -> tuple[list[str], list[Disclosure]]:
    """Hide each claim of one object; returns the sorted digests for its `_sd`, and the disclosures.

    Args:
        decoys: so many digests of nothing among them, that their number does not tell how many claims there are.
    """
    disclosures = [_disclosure(name, value) for name, value in claims.items()]
    digests = [one.digest for one in disclosures]
    digests += [encode_part(sha256(secrets.token_bytes(32)).digest()) for _ in range(decoys)]
    return sorted(digests), disclosures


def join(signed: str, disclosures: Sequence[Disclosure], binding: str = "") -> str:
    """Write an SD-JWT."""
    return SEPARATOR.join([signed, *(one.text for one in disclosures), binding])


def split(text: str) -> Presentation:
    """Take an SD-JWT apart. Raises SdJwtInvalid."""
    parts = text.split(SEPARATOR)
    if len(parts) < 2 or len(parts) - 2 > MOST_DISCLOSURES or not all(parts[:-1]):
        raise SdJwtInvalid(f"not an SD-JWT: parts must be divided by {SEPARATOR} and none but the last may be empty")
    return Presentation(signed=parts[0], disclosures=tuple(parts[1:-1]), binding=parts[-1])


def open_disclosures(payload: Mapping[str, Any], texts: Sequence[str]) -> Opened:
    """Put disclosures into their places in a payload whose signature was checked.

    Raises:
        SdJwtInvalid: a disclosure is malformed or referred to by no digest, a digest occurs twice, a claim is overwritten, or
            the digests are of another hash. Each of them is a MUST of RFC 9901, 7.1.
    """
    if payload.get(ALGORITHM, HASH) != HASH:
        raise SdJwtInvalid("the digests are of a hash that is not known here")
    opening = _Opening(known=_by_digest(texts))
    claims = opening.opened({name: value for name, value in payload.items() if name != ALGORITHM}, "", 0)
    if opening.used != opening.known.keys():
        raise SdJwtInvalid("a disclosure belongs to no digest of the signed part")
    return Opened(claims=claims, paths=opening.paths, hidden=len(opening.seen) - len(opening.used))


def show(text: str, payload: Mapping[str, Any], paths: Collection[str]) -> str:
    """Return an SD-JWT that shows these claims, and those that they lie in, and no others.

    Raises:
        SdJwtInvalid: a path is none of its disclosures'.
    """
    whole = split(text)
    opened = open_disclosures(payload, whole.disclosures)
    if unknown := sorted(set(paths) - opened.paths.keys()):
        raise SdJwtInvalid(f"it has no claim {unknown[0]}")
    wanted = {one for path in paths for one in _ancestors(path) if one in opened.paths}
    texts = {opened.paths[path].text for path in wanted}
    return SEPARATOR.join([whole.signed, *(one for one in whole.disclosures if one in texts), ""])


@dataclass(slots=True, kw_only=True)
class _Opening:
    """One walk through a payload: which digests were met, and which disclosures were put in."""

    known: dict[str, Disclosure]
    seen: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    paths: dict[str, Disclosure] = field(default_factory=dict)

    def opened(self, value: Any, path: str, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise SdJwtInvalid("nested too deep")
        if isinstance(value, dict):
            return self._object(value, path, depth)
        if isinstance(value, list):
            return self._array(value, path, depth)
        return value

    def _object(self, value: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        if ELEMENT in value or ALGORITHM in value:
            raise SdJwtInvalid("a name that SD-JWT keeps for itself is a claim")
        digests = value.get(DIGESTS, [])
        if not isinstance(digests, list) or not all(isinstance(one, str) for one in digests):
            raise SdJwtInvalid("the digests of an object are no list of texts")
        found = {
            name: self.opened(one, _below(path, name), depth + 1) for name, one in value.items() if name != DIGESTS
        }
        for digest in digests:
            disclosure = self._met(digest)
            if disclosure is None:
                continue
            name = disclosure.name
            if name is None or name in (DIGESTS, ELEMENT) or name in found:
                raise SdJwtInvalid("a disclosure is not of the form that its place asks for, or repeats a claim")
            self.paths[_below(path, name)] = disclosure
            found[name] = self.opened(disclosure.value, _below(path, name), depth + 1)
        return found

    def _array(self, value: list[Any], path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        for element in value:
            if isinstance(element, dict) and ELEMENT in element:
                if len(element) != 1 or not isinstance(element[ELEMENT], str):
                    raise SdJwtInvalid("the digest of an element of an array is malformed")
                disclosure = self._met(element[ELEMENT])
                if disclosure is None:
                    continue
                if disclosure.name is not None:
                    raise SdJwtInvalid("a disclosure is not of the form that its place asks for")
                self.paths[_below(path, str(len(found)))] = disclosure
                element = disclosure.value
            found.append(self.opened(element, _below(path, str(len(found))), depth + 1))
        return found

    def _met(self, digest: str) -> Disclosure | None:
        if digest in self.seen:
            raise SdJwtInvalid("a digest occurs twice")
        self.seen.add(digest)
        if digest in self.known:
            self.used.add(digest)
        return self.known.get(digest)


def _disclosure(name: str, value: Any) -> Disclosure:
    salt = encode_part(secrets.token_bytes(SALT_BYTES))
    text = json.dumps([salt, name, value], ensure_ascii=False, separators=(",", ":"))
    return Disclosure(text=encode_part(text.encode()), name=name, value=value)


def _by_digest(texts: Sequence[str]) -> dict[str, Disclosure]:
    found = {one.digest: one for one in map(_parse, texts)}
    if len(found) != len(texts):
        raise SdJwtInvalid("a disclosure is there twice")
    return found


def _parse(text: str) -> Disclosure:
    try:
        parts = json.loads(decode_part(text).decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as cause:
        raise SdJwtInvalid("a disclosure cannot be read") from cause
    if not isinstance(parts, list) or len(parts) not in (2, 3) or not isinstance(parts[0], str):
        raise SdJwtInvalid("a disclosure is not [salt, name, value] or [salt, value]")
    name = parts[1] if len(parts) == 3 else None
    if len(parts) == 3 and not isinstance(name, str):
        raise SdJwtInvalid("the name in a disclosure is no text")
    return Disclosure(text=text, name=name, value=parts[-1])


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _ancestors(path: str) -> list[str]:
    """Return a path and all that it lies in: what is hidden within something hidden needs both disclosures."""
    names = path.split(".")
    return [".".join(names[:length]) for length in range(1, len(names) + 1)]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is repeated")
    return found


def _no_constant(_word: str) -> None:
    raise ValueError("not a number of JSON")
