"""wechat-sports: `/sns/jscode2session`, and the phones that post encrypted step lists to the hub. I/O: network."""

import base64
import hashlib
import hmac
import json
from collections import defaultdict
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from fastapi import HTTPException, Request

from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Tally, Voice
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.registers import WECHAT
from hub.sandbox.reports import Report

_CODE_LIVES = timedelta(minutes=5)
_BAD_APPID, _BAD_SECRET = 40013, 40125
_BAD_CODE, _USED_CODE = 40029, 40163


class WeChatSports(Voice):
    """WeChat's side of a mini-program, together with the phones of everyone who uses it."""

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        front.doors.add("/sns/")
        self.app.add_api_route("/sns/jscode2session", self._session, methods=["GET"], response_model=None)
        self.app.add_api_route("/phone/login", self._phone_login, methods=["POST"], response_model=None)
        self._sealer = Sealer(self.site.secrets["seal_key"].encode())
        self._used: set[str] = set()
        self._codes = 0

    async def deliver(self, part: int) -> Tally:
        uploads: dict[str, list[Report]] = defaultdict(list)
        for row in self.rows(part):
            uploads[row.account].append(row)
        tally = Tally()
        async with Courier() as courier:
            for openid, rows in uploads.items():
                for _ in range(2 if self.faults.take(Fault.DUPLICATES) else 1):
                    await self._upload(courier, part, openid, tuple(rows), tally)
        return tally

    async def _upload(self, courier: Courier, part: int, openid: str, rows: tuple[Report, ...], tally: Tally) -> None:
        code = self.issue_code(openid)
        initial = hashlib.sha256(f"iv\x1f{code}".encode()).digest()[:16]
        sealed = self._encrypt(self._session_key(code), initial, _step_list(rows, self._watermark()))
        body = {"code": code, "encryptedData": sealed, "iv": base64.b64encode(initial).decode()}
        headers = {"content-type": "application/json"}
        answer = await courier.post(f"{self.site.hub_url}/in/{self.site.platform}", json.dumps(body).encode(), headers)
        tally.deliveries += 1
        if answer is not None and answer.is_success:
            self.book.note(_delivery_id(openid, body["iv"], sealed), part, rows)
            tally.taken += 1
            tally.rows += len(rows)
        elif answer is not None and answer.is_client_error:
            tally.refused += 1
        else:
            tally.failed += 1

    def issue_code(self, openid: str) -> str:
        """Return what `wx.login` gives to a mini-program: good once, for five minutes."""
        self._codes += 1
        now = self.site.clock()
        claims = {"openid": openid, "number": self._codes, "at": now.isoformat()}
        return self._sealer.seal("wx-code", claims, now=now, lives=_CODE_LIVES)

    async def _phone_login(self, request: Request) -> dict[str, str]:
        """The person's phone, not a part of WeChat's API: whoever knows the password holds the phone."""
        form = await request.form()
        openid = self.site.sign_in(str(form.get("username", "")), str(form.get("password", "")))
        if openid is None:
            raise HTTPException(401, "wrong name or password")
        return {"code": self.issue_code(openid)}

    def _session(self, appid: str = "", secret: str = "", js_code: str = "", grant_type: str = "") -> dict[str, Any]:
        if appid != self.site.secrets["app_id"]:
            return _error(_BAD_APPID, "invalid appid")
        if not hmac.compare_digest(secret.encode(), self.site.secrets["app_secret"].encode()):
            return _error(_BAD_SECRET, "invalid appsecret")
        claims = self._sealer.open("wx-code", js_code, now=self.site.clock())
        if claims is None or grant_type != "authorization_code":
            return _error(_BAD_CODE, "invalid code")
        if js_code in self._used:
            return _error(_USED_CODE, "code been used")
        self._used.add(js_code)
        return {"openid": claims["openid"], "session_key": base64.b64encode(self._session_key(js_code)).decode()}

    def _session_key(self, code: str) -> bytes:
        return hmac.new(self.site.secrets["seal_key"].encode(), f"session\x1f{code}".encode(), "sha256").digest()[:16]

    def _watermark(self) -> dict[str, Any]:
        appid = "wx0000000000000000" if self.faults.take(Fault.WRONG_APPID) else self.site.secrets["app_id"]
        return {"timestamp": int(self.site.clock().timestamp()), "appid": appid}

    def _encrypt(self, key: bytes, initial: bytes, text: bytes) -> str:
        if self.faults.take(Fault.WRONG_SIGNATURE):
            key = key[::-1]  # the format has no signature: another session's key is the nearest thing
        padder, sealer = PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(initial)).encryptor()
        sealed = sealer.update(padder.update(text) + padder.finalize()) + sealer.finalize()
        if self.faults.take(Fault.TAMPERED):
            sealed = sealed[:-5]
        return base64.b64encode(sealed).decode()


def _step_list(rows: tuple[Report, ...], watermark: dict[str, Any]) -> bytes:
    days = [json.loads(row.body) for row in rows]
    entries = [{"timestamp": day["timestamp"], "step": day["step"]} for day in days]
    return json.dumps({"stepInfoList": entries, "watermark": watermark}, separators=(",", ":")).encode()


def _delivery_id(openid: str, initial: str, sealed: str) -> str:
    """Name an upload by its content, as both sides can: the format has no id of its own."""
    return "werun-" + hashlib.sha256(f"{openid}\x1f{initial}\x1f{sealed}".encode()).hexdigest()


def _error(code: int, message: str) -> dict[str, Any]:
    return {"errcode": code, "errmsg": message}


SPEC = Spec(
    id=WECHAT,
    name_zh="微信运动（模拟）",
    name_en="WeChat Sports (simulated)",
    kind="data_source",
    behaviours=("MOB-WALK",),
    agreed=lambda secret: {
        "app_id": "wx" + secret("wechat/app").hex()[:16],
        "app_secret": secret("wechat/secret").hex()[:32],
    },
    signs_in=False,  # a mini-program signs in by code, without a redirect
    device_code=True,
    feeds=(
        Feed(
            stream="steps",
            connector="werun",
            voice=WeChatSports,
            config=lambda place: {"appid": place.agreed["app_id"], "base_url": place.origin, "allow_loopback": True},
            secrets=lambda agreed: {"app_secret": agreed["app_secret"]},
        ),
    ),
)
