"""T/CEC 102 charge orders: the hub as receiver of a charging operator's notifications. Pure.

The operator posts to `/evcs/v{version}/query_token` for an access token and then each finished charge to
`/evcs/v{version}/notification_charge_order_info`. Every answer is HTTP 200 with the standard's `Ret` code in a signed
envelope. The token is stateless: operator and expiry under our own key, so any process can check it.

A notification that is sent again unchanged has the same TimeStamp and Seq, hence the same delivery id, and is answered
again without effect. The order goes on as the decrypted bytes. It names no person; the hub's extension field `UserId`
names the operator's own account. `check_charge_orders`, the operator's list of a day, is read as a statement
(`tcec_statement.py`) and answered with the orders that the hub disputes.

Source: T/CEC 102.2 (orders, reconciliation), T/CEC 102.4 (envelope, token, codes).
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import Connector, Delivery, Description, Inbound, Outcome, Reply, Transport, problem
from connectors.config import ConfigError, Fields
from connectors.formats.tcec_envelope import (
    EnvelopeError,
    EnvelopeKeys,
    Opened,
    Ret,
    find_member,
    open_envelope,
    open_reply,
    require_text,
    seal_envelope,
    seal_reply,
    sign,
)
from connectors.formats.tcec_statement import parse_statement, write_disputes
from connectors.kind import Kind
from connectors.statements import Dispute, Statement
from connectors.strict_json import MalformedJsonError, parse_object

__all__ = [
    "EnvelopeKeys",
    "Ret",
    "TCec102",
    "TCec102Config",
    "open_envelope",
    "open_reply",
    "parse_config",
    "seal_envelope",
    "seal_reply",
    "sign",
]

_STREAM = "charge_orders"
_TOKEN_INTERFACE, _ORDER_INTERFACE = "query_token", "notification_charge_order_info"
_CHECK_INTERFACE = "check_charge_orders"
_PATH = re.compile(r"(?:^|/)evcs/v(?P<version>[0-9]{1,14})/(?P<interface>[a-z_]{1,64})/?")
_TOKEN = re.compile(r"Bearer (?P<expires>[0-9]{1,12})\.(?P<mac>[A-Za-z0-9_-]{43})", re.IGNORECASE)
_ORDER_ID = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TCec102Config:
    """`operator_id` is the peer's organisation code; all secrets but `token_key` are agreed with the peer."""

    operator_id: str
    operator_secret: bytes = field(repr=False)
    keys: EnvelopeKeys = field(repr=False)
    token_key: bytes = field(repr=False)  # ours alone: whoever has it can make tokens
    versions: tuple[str, ...] = ("20161110",)
    token_ttl_s: int = 7200
    tolerance_s: int = 300
    body_bytes: int = 512 * 1024
    camel_case: bool = False


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> TCec102Config:
    with Fields(secrets, where="secrets") as given:
        keys = EnvelopeKeys(
            data_secret=given.key("data_secret", size_bytes=16),
            data_secret_iv=given.key("data_secret_iv", size_bytes=16),
            sig_secret=given.key("sig_secret", size_bytes=16),
        )
        operator_secret = given.text("operator_secret").encode()
        token_key = given.text("token_key").encode()
    if len(token_key) < 32:
        raise ConfigError("secrets: field 'token_key' must be 32 or more characters")
    with Fields(config, where="config") as fields:
        operator_id = fields.key("operator_id", size_bytes=9).decode()
        return TCec102Config(
            operator_id=operator_id,
            operator_secret=operator_secret,
            keys=keys,
            token_key=token_key,
            versions=fields.texts("versions", default=("20161110",)),
            token_ttl_s=fields.whole("token_ttl_s", default=7200, least=60, most=7 * 86400),
            tolerance_s=fields.whole("tolerance_s", default=300, least=1, most=3600),
            body_bytes=fields.whole("body_bytes", default=512 * 1024, least=1024, most=4 * 1024 * 1024),
            camel_case=fields.flag("camel_case", default=False),
        )


class TCec102(Connector):
    """Receiver of charge orders of one operator."""

    def __init__(self, config: TCec102Config) -> None:
        self._config = config

    def describe(self) -> Description:
        return Description(
            name="tcec102",
            title="T/CEC 102 charge orders",
            transport=Transport.PUSH,
            streams=(_STREAM,),
            role="meter",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="replace",
            lateness_class="day",
            drops=("UserPhone", "PlateNum", "VIN"),
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        interface = self._interface(request)
        if interface not in (_TOKEN_INTERFACE, _ORDER_INTERFACE):
            return problem(404, "interface_unknown", "This interface or version is not offered.")
        opened = self._open(request, now, with_token=interface != _TOKEN_INTERFACE)
        if isinstance(opened, Reply):
            return opened
        try:
            if interface == _TOKEN_INTERFACE:
                return self._answer_token(opened, now)
            require_order_id(opened.text)
        except EnvelopeError as error:
            return self._reply(ret=error.ret, message=str(error))
        return Delivery(
            delivery_id=f"{opened.operator_id}-{opened.timestamp}-{opened.seq}",
            stream=_STREAM,
            rows=(opened.text,),
            digest=hashlib.sha256(request.body).digest(),
        )

    def is_statement(self, request: Inbound) -> bool:
        return self._interface(request) == _CHECK_INTERFACE

    def receive_statement(self, request: Inbound, *, now: datetime) -> Statement | Reply:
        """Read the operator's list of a day's orders (`check_charge_orders`)."""
        opened = self._open(request, now, with_token=True)
        if isinstance(opened, Reply):
            return opened
        try:
            return parse_statement(opened, stream=_STREAM)
        except EnvelopeError as error:
            return self._reply(ret=error.ret, message=str(error))

    def answer_statement(self, statement: Statement, disputes: Sequence[Dispute]) -> Reply:
        return self._reply(ret=Ret.OK, data=write_disputes(statement, disputes))

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        """Confirm the order; an order that was neither taken nor known already is answered as disputed."""
        order = parse_object(delivery.rows[0])
        is_confirmed = outcome.accepted + outcome.replayed > 0
        data = {
            "StartChargeSeq": require_text(order, "StartChargeSeq"),
            "ConnectorID": _connector_id(order),
            "ConfirmResult": 0 if is_confirmed else 1,
        }
        return self._reply(ret=Ret.OK, data=data)

    def _interface(self, request: Inbound) -> str | None:
        match = _PATH.search(request.path)
        if match is None or match.end() != len(request.path) or match["version"] not in self._config.versions:
            return None
        return match["interface"]

    def _open(self, request: Inbound, now: datetime, *, with_token: bool) -> Opened | Reply:
        """Verify and decrypt a message; one that is refused is answered in the standard's way."""
        if request.method != "POST":
            return problem(405, "method_not_allowed", "Messages are posted.", headers={"allow": "POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "message_too_large", "The message is larger than agreed.")
        try:
            opened = open_envelope(self._config.keys, request.body)
            self._require_current(opened, now)
            if with_token and not self._is_token_good(request.headers.get("authorization", ""), now):
                raise EnvelopeError(Ret.TOKEN, "The access token is missing, wrong or expired.")
        except EnvelopeError as error:
            return self._reply(ret=error.ret, message=str(error))
        return opened

    def _require_current(self, opened: Opened, now: datetime) -> None:
        if opened.operator_id != self._config.operator_id:
            raise EnvelopeError(Ret.ENVELOPE, "OperatorID is not the one agreed.")
        if abs((now - opened.sent_at).total_seconds()) > self._config.tolerance_s:
            raise EnvelopeError(Ret.ENVELOPE, "TimeStamp is too old or in the future.")

    def _answer_token(self, opened: Opened, now: datetime) -> Reply:
        try:
            asked = parse_object(opened.text)
            operator_id, secret = require_text(asked, "OperatorID"), require_text(asked, "OperatorSecret")
        except (MalformedJsonError, KeyError):
            raise EnvelopeError(Ret.BUSINESS, "OperatorID or OperatorSecret is missing.") from None
        is_known = operator_id == self._config.operator_id
        is_right = hmac.compare_digest(secret.encode(), self._config.operator_secret)
        granted = is_known and is_right
        data = {
            "OperatorID": self._config.operator_id,
            "SuccStat": 0 if granted else 1,
            "AccessToken": self._issue_token(now) if granted else "",
            "TokenAvailableTime": self._config.token_ttl_s if granted else 0,
            "FailReason": 0 if granted else 1 if not is_known else 2,
        }
        return self._reply(ret=Ret.OK, data=data)

    def _issue_token(self, now: datetime) -> str:
        expires = str(int(now.timestamp()) + self._config.token_ttl_s)
        return f"{expires}.{self._token_mac(expires)}"

    def _is_token_good(self, header: str, now: datetime) -> bool:
        match = _TOKEN.fullmatch(header)
        if match is None or not hmac.compare_digest(match["mac"], self._token_mac(match["expires"])):
            return False
        return now.timestamp() < int(match["expires"])

    def _token_mac(self, expires: str) -> str:
        text = f"tcec102 access token\x1f{self._config.operator_id}\x1f{expires}".encode()
        return base64.urlsafe_b64encode(hmac.digest(self._config.token_key, text, "sha256")).decode().rstrip("=")

    def _reply(self, *, ret: Ret, message: str = "", data: Mapping[str, object] | None = None) -> Reply:
        config = self._config
        body = seal_reply(config.keys, ret=ret, message=message, data=data, camel_case=config.camel_case)
        return Reply(status=200, headers={"content-type": "application/json; charset=utf-8"}, body=body)


def require_order_id(text: bytes) -> str:
    """Find the order's number: without it the order can be neither confirmed nor recognised."""
    try:
        order_id = require_text(parse_object(text), "StartChargeSeq")
    except (MalformedJsonError, KeyError):
        raise EnvelopeError(Ret.BUSINESS, "Data is not a JSON object with a StartChargeSeq.") from None
    if not _ORDER_ID.fullmatch(order_id):
        raise EnvelopeError(Ret.BUSINESS, "StartChargeSeq is not well formed.")
    return order_id


def _connector_id(order: Mapping[str, object]) -> str:
    try:
        found = find_member(order, "ConnectorID")
    except KeyError:
        return ""
    return found if isinstance(found, str) else json.dumps(found)


KIND = Kind(
    name="tcec102",
    transport=Transport.PUSH,
    profile=False,
    secrets=("operator_secret", "data_secret", "data_secret_iv", "sig_secret", "token_key"),
    build=lambda config, secrets: TCec102(parse_config(config, secrets)),
)
