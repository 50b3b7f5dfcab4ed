"""WeRun: the official vectors, and devices and answers of WeChat that are not what they should be."""

import base64
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.base import Delivery, Inbound, Outcome, Reply, Stop
from connectors.formats.aes_cbc import encrypt
from connectors.formats.wechat_data import (
    WeChatDataError,
    open_data,
    parse_session_key,
    require_watermark,
    verify_raw_data,
)
from connectors.formats.werun import WeRun, parse_config
from connectors.net.egress import EgressLimits, Origin, SafeClient

# WeChat's official decryption demo (vector A) and signature example (vector B).
APPID = "wx4f4bc4dec97d474b"
SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IV = "r7BXXKkLb8qrSNn05n0qiA=="
DEMO_DATA = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+3hVbJSRgv+4lGOET"
    "KUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXw"
    "u0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UI"
    "eorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYV"
    "oKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)
DEMO_TIMESTAMP = 1477314187
SIGNED_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
SIGNED_TEXT = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN",'
    '"avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxy'
    'zYsrztuuICqIM5ibXQ/0"}'
)
SIGNED_DIGEST = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"
# The documented step list with the demo's watermark, under the demo's key (vector C).
STEPS_DATA = (
    "XoLUxF76jN/OsfTGUqF/ZqRn+2PtO66lAMg/g0D3bg1L2/Nds8gTQrH7fGmbTgGtUC2R9lbJh7fLEaO9boeCqru1Em2BD/IbfN6lI/nu55iYlOdv"
    "BG/PicU8pMeVU32B3O68Ot2mP0ivKxccJMLOPL06Lt1z+Cd2wKlJ6WhdDjszfUo7lbbI4lxqW0w5dd2MEJdcEjHsflH8uLO8hrRUkw=="
)

NOW = datetime.fromtimestamp(DEMO_TIMESTAMP + 20, UTC)  # 2016-10-24 in Shanghai
KEY = parse_session_key(SESSION_KEY)
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"


def session(**changes: Any) -> dict[str, Any]:
    return {"openid": OPENID, "session_key": SESSION_KEY, "unionid": "u"} | changes


def hub_for(platform: Any, appid: str = APPID, max_age_s: int = 300) -> WeRun:
    settings = {"appid": appid, "base_url": platform.url, "allow_loopback": True, "max_age_s": max_age_s}
    client = SafeClient(
        [Origin.parse(platform.url, allow_loopback=True)],
        limits=EgressLimits(connect_s=20.0, read_s=20.0, total_s=30.0, body_bytes=10_000),
    )
    return WeRun(parse_config(settings, {"app_secret": "canary-app-secret"}), client=client)


def sent(data: str = STEPS_DATA, **more: Any) -> Inbound:
    body = {"code": "canary-code", "encryptedData": data, "iv": IV} | more
    return Inbound(method="POST", path="/in/wechat-sports", body=json.dumps(body).encode())


def sealed(document: Any, key: bytes = KEY) -> str:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.b64encode(encrypt(text, key=key, iv=base64.b64decode(IV))).decode()


def steps(*entries: Any, timestamp: int = DEMO_TIMESTAMP, appid: str = APPID) -> str:
    return sealed({"stepInfoList": list(entries), "watermark": {"timestamp": timestamp, "appid": appid}})


def problem_of(answer: Delivery | Reply) -> tuple[int, str]:
    assert isinstance(answer, Reply)
    return answer.status, json.loads(answer.body)["type"].removeprefix("urn:tanlian:problem:")


def test_vector_a_the_official_demo_decrypts() -> None:
    document = open_data(DEMO_DATA, IV, session_key=KEY)
    assert document["openId"] == OPENID
    assert document["unionId"] == "ocMvos6NjeKLIBqg5Mr9QjxrP1FA"
    assert document["nickName"] == "Band"
    assert document["watermark"] == {"timestamp": DEMO_TIMESTAMP, "appid": APPID}
    require_watermark(document, appid=APPID, now=NOW, max_age_s=300)


def test_vector_b_the_official_signature_verifies() -> None:
    assert verify_raw_data(SIGNED_TEXT, SIGNED_DIGEST, session_key=SIGNED_KEY)
    assert not verify_raw_data(SIGNED_TEXT + " ", SIGNED_DIGEST, session_key=SIGNED_KEY)
    assert not verify_raw_data(SIGNED_TEXT, SIGNED_DIGEST, session_key=SESSION_KEY)
    assert not verify_raw_data(SIGNED_TEXT, "", session_key=SIGNED_KEY)


def test_vector_c_becomes_one_row_for_each_day_that_is_over(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    delivery = hub_for(platform).receive(sent(), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.stream == "steps"
    assert [json.loads(row) for row in delivery.rows] == [
        {"openid": OPENID, "date": "2015-10-26", "timestamp": 1445866601, "step": 100},
        {"openid": OPENID, "date": "2015-10-27", "timestamp": 1445876601, "step": 120},
    ]
    assert delivery.unreadable == ()


def test_wechat_is_asked_as_its_documentation_says(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    hub_for(platform).receive(sent(), now=NOW)
    called = urlsplit(platform.asked[0].path)
    assert called.path == "/sns/jscode2session"
    assert parse_qs(called.query) == {
        "appid": [APPID],
        "secret": ["canary-app-secret"],
        "js_code": ["canary-code"],
        "grant_type": ["authorization_code"],
    }


def midnight(days_ago: int) -> int:
    return int(datetime(2016, 10, 23, 16, tzinfo=UTC).timestamp()) - days_ago * 86400


def test_today_in_shanghai_is_left_out_because_it_still_grows(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    data = steps(*({"timestamp": midnight(ago), "step": 1000 + ago} for ago in (2, 1, 0)))
    delivery = hub_for(platform).receive(sent(data), now=NOW)
    assert isinstance(delivery, Delivery)
    assert [json.loads(row)["date"] for row in delivery.rows] == ["2016-10-22", "2016-10-23"]
    assert delivery.unreadable == ()


def test_the_day_turns_at_midnight_in_shanghai_and_not_in_utc(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    hub = hub_for(platform, max_age_s=3600)
    turn = datetime(2016, 10, 24, 16, tzinfo=UTC)  # 2016-10-25 00:00 in Shanghai
    data = steps({"timestamp": midnight(0), "step": 5}, timestamp=int(turn.timestamp()))
    before = hub.receive(sent(data), now=turn - timedelta(seconds=1))
    after = hub.receive(sent(data), now=turn)
    assert isinstance(before, Delivery)
    assert isinstance(after, Delivery)
    assert (before.rows, len(after.rows)) == ((), 1)


def test_the_same_data_sent_again_with_a_new_code_is_the_same_delivery(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    hub = hub_for(platform)
    assert hub.receive(sent(), now=NOW) == hub.receive(sent(code="another"), now=NOW)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"timestamp": midnight(1) * 1000, "step": 100}, "timestamp_in_milliseconds"),
        ({"timestamp": 10**300, "step": 100}, "timestamp_in_milliseconds"),
        ({"timestamp": midnight(-3), "step": 100}, "time_ahead"),
        ({"timestamp": str(midnight(1)), "step": 100}, "timestamp"),
        ({"timestamp": float(midnight(1)), "step": 100}, "timestamp"),
        ({"timestamp": True, "step": 100}, "timestamp"),
        ({"timestamp": 0, "step": 100}, "timestamp"),
        ({"step": 100}, "timestamp"),
        ({"timestamp": midnight(1), "step": -1}, "step"),
        ({"timestamp": midnight(1), "step": 1.5}, "step"),
        ({"timestamp": midnight(1), "step": "100"}, "step"),
        ({"timestamp": midnight(1), "step": False}, "step"),
        ({"timestamp": midnight(1)}, "step"),
        ({"timestamp": midnight(2) + 60, "step": 100}, "repeated_day"),
        (7, "not_an_object"),
        (None, "not_an_object"),
    ],
)
def test_a_bad_entry_is_set_aside_alone(serve: Callable, entry: Any, reason: str) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    good = {"timestamp": midnight(2), "step": 1}
    delivery = hub_for(platform).receive(sent(steps(good, entry)), now=NOW)
    assert isinstance(delivery, Delivery)
    assert [json.loads(row)["step"] for row in delivery.rows] == [1]
    assert [(row.position, row.reason) for row in delivery.unreadable] == [(1, reason)]


def test_whether_a_number_of_steps_is_sane_is_not_judged_here(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    delivery = hub_for(platform).receive(sent(steps({"timestamp": midnight(1), "step": 99_999_999})), now=NOW)
    assert isinstance(delivery, Delivery)
    assert len(delivery.rows) == 1


CIPHER = base64.b64decode(STEPS_DATA)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (base64.b64encode(CIPHER[:-1]).decode(), "undecryptable"),
        (base64.b64encode(CIPHER[:-16]).decode(), "undecryptable"),
        (base64.b64encode(CIPHER[:-1] + bytes([CIPHER[-1] ^ 1])).decode(), "undecryptable"),
        (sealed({"stepInfoList": []}, key=bytes(16)), "undecryptable"),
        ("not base64!", "undecryptable"),
        (STEPS_DATA + "\n", "undecryptable"),
        (base64.b64encode(bytes(70_000 // 16 * 16)).decode(), "undecryptable"),
        (sealed(b"[1]"), "undecryptable"),
        (sealed(b'{"watermark":1,"watermark":2}'), "undecryptable"),
        (sealed({"stepInfoList": []}), "watermark_missing"),
        (sealed({"stepInfoList": [], "watermark": {"appid": APPID}}), "watermark_missing"),
        (sealed({"stepInfoList": [], "watermark": {"appid": 5, "timestamp": 5}}), "watermark_missing"),
        (steps(appid="wx0000000000000000"), "watermark_appid"),
        (steps(timestamp=DEMO_TIMESTAMP - 3600), "watermark_stale"),
        (steps(timestamp=DEMO_TIMESTAMP + 3600), "watermark_stale"),
        (steps(timestamp=DEMO_TIMESTAMP * 1000), "watermark_stale"),
        (steps(timestamp=10**400), "watermark_stale"),
        (DEMO_DATA, "no_steps"),
        (steps(*[{"timestamp": 1, "step": 1}] * 63), "no_steps"),
    ],
)
def test_data_that_cannot_be_trusted_is_refused(serve: Callable, data: str, reason: str) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    assert problem_of(hub_for(platform).receive(sent(data), now=NOW)) == (400, reason)


def test_data_of_another_app_is_refused(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    answer = hub_for(platform, appid="wx0000000000000001").receive(sent(), now=NOW)
    assert problem_of(answer) == (400, "watermark_appid")


def test_raw_data_is_checked_where_the_device_sends_it(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, session(session_key=SIGNED_KEY)))
    key = parse_session_key(SIGNED_KEY)
    mark = {"timestamp": DEMO_TIMESTAMP, "appid": APPID}
    data = sealed({"stepInfoList": [], "watermark": mark}, key=key)
    hub = hub_for(platform)
    good = hub.receive(sent(data, rawData=SIGNED_TEXT, signature=SIGNED_DIGEST), now=NOW)
    assert isinstance(good, Delivery)
    bad = hub.receive(sent(data, rawData=SIGNED_TEXT, signature="0" * 40), now=NOW)
    assert problem_of(bad) == (400, "raw_data_signature")
    half = hub.receive(sent(data, rawData=SIGNED_TEXT), now=NOW)
    assert problem_of(half) == (400, "message_malformed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"code":"c","iv":"i"}',
        b'{"code":"","encryptedData":"e","iv":"i"}',
        b'{"code":5,"encryptedData":"e","iv":"i"}',
        b'{"code":"c","code":"d","encryptedData":"e","iv":"i"}',
    ],
)
def test_a_malformed_message_is_refused_without_asking_wechat(serve: Callable, body: bytes) -> None:
    platform = serve(lambda ask: ask.reply(200, session()))
    request = Inbound(method="POST", path="/in/wechat-sports", body=body)
    assert problem_of(hub_for(platform).receive(request, now=NOW)) == (400, "message_malformed")
    assert platform.asked == []


@pytest.mark.parametrize(
    ("document", "status", "reason"),
    [
        ({"errcode": 40029, "errmsg": "invalid code"}, 401, "code_refused"),
        ({"errcode": 40163, "errmsg": "code been used"}, 401, "code_refused"),
        ({"errcode": 40226, "errmsg": "code blocked"}, 401, "code_refused"),
        ({"errcode": -1, "errmsg": "system busy"}, 503, "wechat_unavailable"),
        ({"errcode": 45011, "errmsg": "frequency"}, 503, "wechat_unavailable"),
        ({}, 502, "wechat_answer"),
        ({"openid": 5, "session_key": SESSION_KEY}, 502, "wechat_answer"),
        ({"openid": "", "session_key": SESSION_KEY}, 502, "wechat_answer"),
        ({"openid": "o\n", "session_key": SESSION_KEY}, 502, "wechat_answer"),
        ({"openid": OPENID}, 502, "wechat_answer"),
        ({"openid": OPENID, "session_key": "AAAA"}, 502, "wechat_answer"),
    ],
)
def test_an_answer_of_wechat_that_is_no_session_is_told_to_the_device(
    serve: Callable, document: dict[str, Any], status: int, reason: str
) -> None:
    platform = serve(lambda ask: ask.reply(200, document))
    assert problem_of(hub_for(platform).receive(sent(), now=NOW)) == (status, reason)


@pytest.mark.parametrize("code", [40013, 40125])
def test_a_refused_registration_stops_the_connector(serve: Callable, code: int) -> None:
    platform = serve(lambda ask: ask.reply(200, {"errcode": code, "errmsg": "canary"}))
    with pytest.raises(Stop) as stopped:
        hub_for(platform).receive(sent(), now=NOW)
    assert str(stopped.value) == "wechat_registration"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_wechat_is_tried_again_by_the_device(serve: Callable, status: int) -> None:
    platform = serve(lambda ask: ask.reply(status, {}))
    answer = hub_for(platform).receive(sent(), now=NOW)
    assert problem_of(answer) == (503, "wechat_unavailable")
    assert isinstance(answer, Reply)
    assert int(answer.headers["retry-after"]) > 0


def test_neither_secret_nor_session_key_is_logged_kept_or_answered(
    serve: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    platform = serve(lambda ask: ask.reply(200, session()))
    hub = hub_for(platform)
    delivery = hub.receive(sent(), now=NOW)
    assert isinstance(delivery, Delivery)
    refused = hub.receive(sent(steps(timestamp=1)), now=NOW)
    told = repr(delivery) + repr(delivery.rows) + repr(vars(hub))
    for answer in (refused, hub.acknowledge(delivery, Outcome(accepted=2))):
        assert isinstance(answer, Reply)
        told += repr(answer.headers) + repr(answer.body)
    for secret in (SESSION_KEY, "canary-app-secret", "canary-code", repr(KEY)):
        assert secret not in caplog.text + told


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", None, 5, "A" * 10_000])
def test_a_session_key_is_sixteen_bytes_or_none(text: object) -> None:
    with pytest.raises(WeChatDataError):
        parse_session_key(text)
