"""alipay-green: the open platform's gateway, for the methods of low-carbon trips and green actions. I/O: HTTP in.

One address for all methods: a signed form comes in, a signed node goes out. The signature is over the node as it is
written, with blanks where Alipay would write none: who verifies it over a node written anew is found out.
"""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from fastapi import Request, Response

from hub.sandbox.platforms.alipay_keys import (
    ALIPAY_PRIVATE_KEY,
    ALIPAY_PUBLIC_KEY,
    APP_PRIVATE_KEY,
    APP_PUBLIC_KEY,
)
from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Place, Spec
from hub.sandbox.registers import ALIPAY
from hub.sandbox.reports import Report
from hub.sandbox.telling.alipay import ACTIONS_STREAM, SECOND_SCENES

_APP_ID = "2021004100000001"
_GATEWAY = "/gateway.do"
_BEHAVIOURS = "alipay.commerce.transport.carbonjustice.lowcarbonbehavior.query"
_ACTIONS = "alipay.social.opengreen.energy.query"
_WALL_CLOCK = timezone(timedelta(hours=8))
_SCENES = ("CARBON_JUSTICE_BUS", "CARBON_JUSTICE_METRO", "CARBON_JUSTICE_HITCHHIKING")


class _Refusal(Exception):
    def __init__(self, code: str, sub_code: str) -> None:
        super().__init__(sub_code)
        self.code, self.sub_code = code, sub_code


class AlipayGreen(ByTimeVoice):
    """The gateway, with the method of trips; other voices of the platform add theirs."""

    method = _BEHAVIOURS

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        methods: dict[str, AlipayGreen] | None = getattr(front.app.state, "methods", None)
        if methods is None:
            methods = front.app.state.methods = {}
            front.doors.add(_GATEWAY)
            self.app.add_api_route(_GATEWAY, self._gateway, methods=["POST"], response_model=None)
        methods[self.method] = self

    async def _gateway(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        name, cut = "error_response", self.faults.take(Fault.TRUNCATED_PAGE)
        request_id = "" if cut else request.headers.get("x-request-id", "")[:128]
        try:
            _require_signed(form)
            voice: AlipayGreen | None = self.app.state.methods.get(form.get("method"))
            if voice is None:
                raise _Refusal("40002", "isv.invalid-method")
            name = form["method"].replace(".", "_") + "_response"
            account = self.front.account_of(f"Bearer {form.get('auth_token', '')}")
            if account is None:
                raise _Refusal("20001", "aop.invalid-auth-token")
            members = voice.answer(account, json.loads(form["biz_content"]), request_id)
            node = {"code": "10000", "msg": "Success"} | members
        except _Refusal as refusal:
            node = {"code": refusal.code, "msg": "refused", "sub_code": refusal.sub_code, "sub_msg": "not so"}
        except (ValueError, KeyError, TypeError):
            node = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-parameter"}
        return self._signed(name, node, cut=cut)

    def answer(self, account: str, question: dict[str, Any], request_id: str) -> dict[str, Any]:
        """Return the members of the node that answer one question."""
        if question["scene"] not in _SCENES or not (question.get("city_code") or question.get("city_name")):
            raise _Refusal("40002", "isv.invalid-parameter")
        rows = [
            row
            for row in self.told(account, _moment(question["start_time"]), _moment(question["end_time"]))
            if _scene_of(row) == question["scene"]
        ]
        rows = list(self.note(request_id, tuple(rows)))
        return {"carbon_justice_model_list": [json.loads(row.body) for row in rows]} if rows else {}

    def _signed(self, name: str, node: dict[str, Any], *, cut: bool) -> Response:
        text = json.dumps(node, ensure_ascii=False).encode()  # with blanks, unlike most writers
        signature = _sign(text[:-1] if self.faults.take(Fault.WRONG_SIGNATURE) else text)
        if self.faults.take(Fault.TAMPERED):
            text = text.replace(b": ", b":", 1)
        body = b'{"%s":%s,"sign":"%s"}' % (name.encode(), text, signature.encode())
        if cut:
            body = body[: len(body) * 2 // 3]
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


class AlipayActions(AlipayGreen):
    """Green actions that partners told the forest."""

    method = _ACTIONS

    def answer(self, account: str, question: dict[str, Any], request_id: str) -> dict[str, Any]:
        since, until = _moment(question["start_time"]), _moment(question["end_time"])
        if until - since > timedelta(days=92):
            return {"success": "false", "error_code": "QUERY_TIME_RANGE_INVALID"}
        asked = {one["second_scene"] for one in question["green_actions"]}
        rows = [row for row in self.told(account, since, until) if _known_scene(row, asked)]
        rows = list(self.note(request_id, tuple(rows)))
        info = json.dumps({"green_actions": [json.loads(row.body) for row in rows]}, ensure_ascii=False)
        return {"success": "true", "energy_info": info}


def _scene_of(row: Report) -> str:
    """Under which scene a trip is told; one whose own word nobody knows stands among the metro's."""
    kind = json.loads(row.body).get("trip_type")
    return kind if kind in _SCENES else "CARBON_JUSTICE_METRO"


def _known_scene(row: Report, asked: set[str]) -> bool:
    scene = json.loads(row.body).get("second_scene")
    return scene in asked or scene not in SECOND_SCENES  # what nobody asked for by name comes all the same


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_WALL_CLOCK).astimezone(UTC)


def _require_signed(form: dict[str, str]) -> None:
    if form.get("app_id") != _APP_ID:
        raise _Refusal("40002", "isv.invalid-app-id")
    signed = "&".join(f"{name}={value}" for name, value in sorted(form.items()) if name != "sign")
    key = load_der_public_key(base64.b64decode(APP_PUBLIC_KEY))
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("the app's key is an RSA key")
    try:
        signature = base64.b64decode(form.get("sign", ""), validate=True)
        key.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise _Refusal("40002", "isv.invalid-signature") from None


def _sign(text: bytes) -> str:
    return base64.b64encode(_gateway_key().sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


@cache
def _gateway_key() -> rsa.RSAPrivateKey:
    key = load_der_private_key(base64.b64decode(ALIPAY_PRIVATE_KEY), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the gateway's key is an RSA key")
    return key


def _config(place: Place, stream: str) -> dict[str, Any]:
    return {
        "app_id": _APP_ID,
        "alipay_public_key": ALIPAY_PUBLIC_KEY,
        "gateway_url": f"{place.origin}{_GATEWAY}",
        "allow_loopback": True,
        "stream": stream,
    }


SPEC = Spec(
    id=ALIPAY,
    name_zh="支付宝绿色行为（模拟）",
    name_en="Alipay green behaviours (simulated)",
    kind="data_source",
    behaviours=("MOB-BUS", "MOB-METRO", "MOB-CARPOOL", "MOB-EVCHARGE", "CLO-RECYCLE", "HOME-WASTESORT"),
    agreed=lambda secret: {"app_private_key": APP_PRIVATE_KEY},
    feeds=(
        Feed(
            stream="behaviours",
            connector="alipay_green",
            voice=AlipayGreen,
            config=lambda place: _config(place, "behaviours") | {"city_code": "440300"},
            secrets=lambda agreed: {"app_private_key": agreed["app_private_key"]},
        ),
        Feed(
            stream=ACTIONS_STREAM,
            connector="alipay_green",
            voice=AlipayActions,
            config=lambda place: _config(place, ACTIONS_STREAM) | {"second_scenes": list(SECOND_SCENES)},
            secrets=lambda agreed: {"app_private_key": agreed["app_private_key"]},
        ),
    ),
)
