"""How a connector takes its settings: nothing misspelt, nothing foreign, no secret repeated. Pure, but for the rig."""

from typing import Any

from connectors.base import ConnectorError, Fetcher, LinkAccess, RetryLater, Stop
from connectors.config import ConfigError
from hub.conformance.cases import CaseList, Group, NotApplicable, Violation, require
from hub.conformance.rig import Rig, supports_revoke

CASES: CaseList[Rig] = CaseList(Group.CONTRACT)
_case = CASES.case
_WRONG: tuple[object, ...] = (None, -1, 10**12, 1.5, [], {}, "", " x ", True, "\x00")
_UNSAFE = "http://169.254.169.254"


@_case("SET-01", "A setting that nobody knows is refused by name")
def refuses_the_unknown(rig: Rig) -> None:
    error = _refusal(rig, {**_config(rig), "surely_nobody_knows": 1}, _secrets(rig))
    require(error is not None, "An unknown setting is taken; a misspelt limit would be no limit.")
    require("surely_nobody_knows" in str(error), "The error does not name the field that is unknown.")


@_case("SET-02", "A secret that nobody knows is refused")
def refuses_unknown_secrets(rig: Rig) -> None:
    error = _refusal(rig, _config(rig), {**_secrets(rig), "surely_nobody_knows": "a-secret-value-9"})
    require(error is not None, "A secret that nobody reads is taken; it would lie about.")
    require("a-secret-value-9" not in str(error), "The error repeats the secret.")


@_case("SET-03", "A secret that is missing is missed when the platform is added")
def misses_secrets(rig: Rig) -> None:
    secrets = _secrets(rig)
    if not secrets:
        raise NotApplicable("It has no secrets.")
    missed = [name for name in secrets if _refusal(rig, _config(rig), _without(secrets, name)) is not None]
    require(missed, "It is built without any of its secrets, and would fail only with the first message.")


@_case("SET-04", "A setting of the wrong kind is refused with a sentence, never with another exception")
def refuses_wrong_settings(rig: Rig) -> None:
    for name in _config(rig):
        for wrong in _WRONG:
            _refusal(rig, {**_config(rig), name: wrong}, _secrets(rig))


@_case("SET-05", "A secret of the wrong kind is refused without being repeated")
def refuses_wrong_secrets(rig: Rig) -> None:
    for name in _secrets(rig):
        for wrong in (*_WRONG, "a-secret-value-9"):
            error = _refusal(rig, _config(rig), {**_secrets(rig), name: wrong})
            require("a-secret-value-9" not in str(error), "The error repeats the secret.")


@_case("SET-06", "No secret stands in what a log or a debugger shows of it")
def shows_no_secret(rig: Rig) -> None:
    shown = repr(rig.connector) + repr(getattr(rig.connector, "__dict__", {}))
    shown += repr(rig.access())
    rig.inspect_text(shown, "its repr()")


@_case("SET-07", "Plain http is refused where it was not allowed")
def refuses_plain_http(rig: Rig) -> None:
    config = _config(rig)
    if "allow_loopback" not in config or not _addresses(rig):
        raise NotApplicable("It has no address of a platform.")
    require(
        _refusal(rig, {**config, "allow_loopback": False}, _secrets(rig)), "It would speak to the platform unencrypted."
    )


@_case("SET-08", "An address inside the hub's own network is never called")
def refuses_inner_addresses(rig: Rig) -> None:
    names = _addresses(rig)
    if not names:
        raise NotApplicable("It has no address of a platform.")
    for name in names:
        inner = str(_config(rig)[name]).replace(rig.stage.origin, _UNSAFE)
        try:
            other = rig.connect(**{name: inner})
        except (ConfigError, Stop):
            continue
        if not isinstance(other, Fetcher):
            require(not other.check().ok or not _asks(rig), "It calls an address inside the hub's own network.")
            continue
        reading = rig.read(fetcher=other, most_pages=1)
        require(isinstance(reading.error, Stop), "It calls an address inside the hub's own network; it must stop.")


@_case("SET-09", "That a link has ended is told in the platform's own words, or told again later")
def revokes(rig: Rig) -> None:
    if not supports_revoke(rig.connector):
        raise NotApplicable("The format has no way of its own to end a consent.")
    access = rig.access() or LinkAccess(link_id="conformance", account=rig.account, access_token=rig.access_token)
    try:
        rig.connector.revoke(access, now=rig.now)
    except ConnectorError as error:
        rig.inspect_error(error)
        require(isinstance(error, RetryLater), "A platform that was not told must be told again: RetryLater.")


def _config(rig: Rig) -> dict[str, Any]:
    return dict(rig.document["connector_config"])


def _secrets(rig: Rig) -> dict[str, Any]:
    return dict(rig.document["secrets"])


def _without(secrets: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in secrets.items() if other != name}


def _addresses(rig: Rig) -> list[str]:
    return [name for name, value in _config(rig).items() if isinstance(value, str) and rig.stage.origin in value]


def _asks(rig: Rig) -> bool:
    """Whether check() asks the platform at all."""
    before = len(rig.wire.asked)
    rig.connector.check()
    return len(rig.wire.asked) > before


def _refusal(rig: Rig, config: dict[str, Any], secrets: dict[str, Any]) -> Exception | None:
    """Build the connector; returns the error if it is refused in the contract's way."""
    try:
        rig.build(config, secrets)
    except (ConfigError, Stop) as error:
        for secret in rig.secrets():
            require(secret not in str(error), "The error repeats a secret.")
        return error
    except Exception as error:
        raise Violation(f"Settings that are wrong raise {type(error).__name__} instead of a ConfigError.") from error
    return None
