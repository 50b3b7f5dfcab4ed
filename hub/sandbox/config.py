"""How the town's platforms are onboarded at a hub: one participant document each. Pure.

All secrets follow from the seed, so that a restarted sandbox and its hub still know each other. That is right for a
sandbox on the loopback and wrong everywhere else.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub.sandbox.acts import CHARGING_OPERATOR
from hub.sandbox.people import BEIJING, CITIC, KUAIDIAN, PLATFORMS, SHENZHEN, WECHAT, town_secret
from hub.sandbox.platforms.auth_server import SCOPES
from hub.sandbox.platforms.shenzhen import PAGE_ROWS, public_key_of

Secrets = Mapping[str, Mapping[str, str]]

_HOST = "127.0.0.1"

NAMES: Mapping[str, tuple[str, str]] = {
    BEIJING: ("北京绿色生活季（模拟）", "Beijing Green Life (simulated)"),
    CITIC: ("中信碳账户（模拟）", "CITIC Carbon Account (simulated)"),
    KUAIDIAN: ("快电（模拟）", "Kuaidian charging (simulated)"),
    WECHAT: ("微信运动（模拟）", "WeChat Sports (simulated)"),
    SHENZHEN: ("深圳公共交通（模拟）", "Shenzhen public transport (simulated)"),
}


def control_url(base_port: int) -> str:
    """Return where the town itself is told what to do."""
    return f"http://{_HOST}:{base_port}"


def origin_of(platform: str, base_port: int) -> str:
    """Return the origin of a platform: each has its own port, in the order of `PLATFORMS`, after the control port."""
    return f"http://{_HOST}:{base_port + 1 + PLATFORMS.index(platform)}"


def secrets_of(seed: int) -> dict[str, dict[str, str]]:
    """Return what each platform and the hub have agreed, and each platform's own keys (`seal_key`, `signing_key`)."""
    agreed = {
        platform: {
            "seal_key": _hex(seed, f"{platform}/seal"),
            "client_id": f"tanlian-at-{platform}",
            "client_secret": _hex(seed, f"{platform}/client")[:48],
        }
        for platform in PLATFORMS
    }
    agreed[BEIJING]["webhook_secret"] = "whsec_" + _base64(seed, "beijing/webhook")
    agreed[KUAIDIAN] |= {
        name: _hex(seed, f"kuaidian/{name}")[:16]
        for name in ("operator_secret", "data_secret", "data_secret_iv", "sig_secret")
    }
    agreed[KUAIDIAN]["token_key"] = _hex(seed, "kuaidian/token")  # the hub's alone; the simulator never reads it
    agreed[WECHAT]["app_id"] = "wx" + _hex(seed, "wechat/app")[:16]
    agreed[WECHAT]["app_secret"] = _hex(seed, "wechat/secret")[:32]
    agreed[SHENZHEN]["signing_key"] = _base64(seed, "shenzhen/sign")
    return agreed


def participants(
    base_port: int, drop_dir: Path, hub_url: str, seed: int, secrets: Secrets | None = None
) -> list[dict[str, Any]]:
    """Return the five documents for `tanlian participants add`.

    Args:
        drop_dir: where shenzhen-transit leaves its drops; the hub must see the same directory.
        hub_url: the hub's base address, for registering its return address; the documents do not name it.
        secrets: what was agreed, if it is not what follows from the seed.
    """
    agreed = secrets_of(seed) if secrets is None else secrets
    if not hub_url.startswith(("http://", "https://")):
        raise ValueError("hub_url must be the hub's base address")
    return [
        _beijing(base_port, agreed),
        _citic(base_port, agreed),
        _kuaidian(base_port, agreed),
        _wechat(base_port, agreed),
        _shenzhen(base_port, agreed, drop_dir),
    ]


def _beijing(base_port: int, agreed: Secrets) -> dict[str, Any]:
    return _document(
        BEIJING,
        base_port,
        agreed,
        kind="city",
        connector="signed_push",
        connector_config={"stream": "acts", "role": "aggregator", "drops": ["mobile", "nickname"]},
        secrets={"webhook_secrets": agreed[BEIJING]["webhook_secret"]},
        stream="acts",
        behaviours=[
            "MOB-BIKE",
            "MOB-METRO",
            "MOB-BUS",
            "FOOD-NOTABLEWARE",
            "FOOD-CLEANPLATE",
            "USE-EWAYBILL",
        ],
    )


def _citic(base_port: int, agreed: Secrets) -> dict[str, Any]:
    return _document(
        CITIC,
        base_port,
        agreed,
        kind="bank",
        connector="cursor_pull",
        connector_config={
            "records_url": f"{origin_of(CITIC, base_port)}/records",
            "allow_loopback": True,
            "stream": "acts",
            "role": "payment",
            "drops": ["maskedPan"],
        },
        secrets={},
        stream="acts",
        behaviours=["MOB-BIKE", "MOB-METRO", "MOB-EVCHARGE", "FIN-ECARD", "FIN-ESTATEMENT", "FIN-BILLPAY"],
    )


def _kuaidian(base_port: int, agreed: Secrets) -> dict[str, Any]:
    return _document(
        KUAIDIAN,
        base_port,
        agreed,
        kind="enterprise",
        connector="tcec102",
        connector_config={"operator_id": CHARGING_OPERATOR},
        secrets={
            name: agreed[KUAIDIAN][name]
            for name in ("operator_secret", "data_secret", "data_secret_iv", "sig_secret", "token_key")
        },
        stream="charge_orders",
        behaviours=["MOB-EVCHARGE"],
    )


def _wechat(base_port: int, agreed: Secrets) -> dict[str, Any]:
    return _document(
        WECHAT,
        base_port,
        agreed,
        kind="data_source",
        connector="werun",
        connector_config={
            "appid": agreed[WECHAT]["app_id"],
            "base_url": origin_of(WECHAT, base_port),
            "allow_loopback": True,
        },
        secrets={"app_secret": agreed[WECHAT]["app_secret"]},
        stream="steps",
        behaviours=["MOB-WALK"],
    )


def _shenzhen(base_port: int, agreed: Secrets, drop_dir: Path) -> dict[str, Any]:
    return _document(
        SHENZHEN,
        base_port,
        agreed,
        kind="data_source",
        connector="szt_card",
        connector_config={
            "root": str(drop_dir),
            "platform": SHENZHEN,
            "stream": "trips",
            "public_keys": [public_key_of(agreed[SHENZHEN]["signing_key"])],
            "page_rows": PAGE_ROWS,
        },
        secrets={},
        stream="trips",
        behaviours=["MOB-METRO", "MOB-BUS"],
    )


def _document(platform: str, base_port: int, agreed: Secrets, *, stream: str, **fields: Any) -> dict[str, Any]:
    name_zh, name_en = NAMES[platform]
    origin = origin_of(platform, base_port)
    oauth = {
        "issuer": origin,
        "client_id": agreed[platform]["client_id"],
        "client_auth": "client_secret_basic",
        "client_secret": agreed[platform]["client_secret"],
        "scopes": list(SCOPES),
        "account_from": "userinfo.sub",
        "par": False,
        "dpop": False,
    }
    return {
        "id": platform,
        "name_zh": name_zh,
        "name_en": name_en,
        "stream": stream,
        "mapping": f"{platform}.{stream}.v1",
        "oauth": None if platform == WECHAT else oauth,  # a mini-program signs in by code, without a redirect
        "device_code": platform == WECHAT,
        "allow_loopback": True,
        "statement_url": f"{origin}/statement",
        "webhook_url": None,
        **fields,
    }


def _hex(seed: int, name: str) -> str:
    return town_secret(seed, name).hex()


def _base64(seed: int, name: str) -> str:
    return base64.b64encode(town_secret(seed, name)).decode()
