"""Alipay's gateway: what is signed, what a signature holds for, and each stream over real HTTP."""

import base64
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests_support.link_pulls import (
    ACCESS,
    KEYS,
    METHOD,
    NOW,
    RIDE,
    alipay,
    answer_alipay,
    form_of,
    gateway_node,
    signed,
)
from tests_support.pulling import pages

from connectors.base import ConnectorError, Cursor, Reauthorise, RetryLater, SetAside, Stop, Window
from connectors.config import ConfigError
from connectors.formats.alipay_green import METHODS, parse_config
from connectors.formats.alipay_wire import (
    node_name,
    open_answer,
    parse_private_key,
    parse_public_key,
    sign,
    signing_text,
    verify,
)

SHORT = Window(since=NOW - timedelta(days=3))
PUBLIC = KEYS.alipay.public_key()


def openssl(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=False)


def private_file(folder: Path, key: rsa.RSAPrivateKey) -> str:
    file = folder / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(file)


def public_file(folder: Path, key: rsa.RSAPrivateKey) -> str:
    file = folder / "public.pem"
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(file)


def test_what_is_signed_is_every_field_but_the_signature_sorted_by_name() -> None:
    fields = {
        "method": "m",
        "app_id": "2021",
        "sign": "x",
        "biz_content": '{"a":"中"}',
        "charset": "utf-8",
        "empty": "",
    }
    assert signing_text(fields) == 'app_id=2021&biz_content={"a":"中"}&charset=utf-8&method=m'


def test_our_signature_is_the_one_that_openssl_makes_and_accepts(tmp_path: Path) -> None:
    text = 'app_id=2021&biz_content={"city_code":"440300","scene":"地铁"}&charset=utf-8'
    ours = sign(text, KEYS.app)
    theirs = openssl("dgst", "-sha256", "-sign", private_file(tmp_path, KEYS.app), stdin=text.encode())
    assert theirs.returncode == 0
    assert base64.b64decode(ours) == theirs.stdout  # PKCS#1 v1.5 has no salt: one text, one signature
    signature = tmp_path / "signature"
    signature.write_bytes(base64.b64decode(ours))
    words = ("dgst", "-sha256", "-verify", public_file(tmp_path, KEYS.app), "-signature", str(signature))
    assert openssl(*words, stdin=text.encode()).returncode == 0
    assert openssl(*words, stdin=text.encode() + b" ").returncode != 0


def test_a_signature_of_openssl_is_verified_and_no_other(tmp_path: Path) -> None:
    node = '{ "code":"10000", "msg":"成功\\/" }'.encode()
    made = openssl("dgst", "-sha256", "-sign", private_file(tmp_path, KEYS.alipay), stdin=node).stdout
    signature = base64.b64encode(made).decode()
    assert verify(node, signature, PUBLIC)
    assert not verify(node, signature, KEYS.app.public_key())
    assert not verify(node.replace(b" ", b""), signature, PUBLIC)
    for bad in ("", "!", signature[:-4], signature + "=", "中", "\ud800"):
        assert not verify(node, bad, PUBLIC)


def test_the_signature_holds_for_the_node_as_it_was_written_and_not_for_what_it_means() -> None:
    node = b'{"msg" : "Success",\n "code": "10000", "carbon_justice_model_list": [ {"distance":8600.0 } ]}'
    opened = open_answer(signed(node), method=METHOD, key=PUBLIC)
    assert opened.text == node
    name = node_name(METHOD).encode()
    signature = KEYS.sign(node).encode()
    # The same meaning in other bytes is not what was signed.
    again = json.dumps(json.loads(node)).encode()
    with pytest.raises(SetAside, match="answer_signature"):
        open_answer(b'{"%s":%s,"sign":"%s"}' % (name, again, signature), method=METHOD, key=PUBLIC)
    # The signature may stand first, and the node is found by its name, not by where another text mentions it.
    swapped = b'{"sign" :"%s","note":"\\"%s\\":{}", "%s" :  %s }' % (signature, name, name, node)
    assert open_answer(swapped, method=METHOD, key=PUBLIC).text == node


@pytest.mark.parametrize(
    ("body", "expected", "reason"),
    [
        (b'{"%(name)s":{"code":"10000"}}', SetAside, "answer_unsigned"),
        (b'{"%(name)s":{"code":"10000"},"sign":null}', SetAside, "answer_signature"),
        (b'{"%(name)s":{"code":"10000"},"sign":7}', SetAside, "answer_signature"),
        (b'{"%(name)s":{"code":"10000"},"sign":""}', SetAside, "answer_signature"),
        (b'{"%(name)s":{"code":"10000"},"%(name)s":{},"sign":"eA=="}', SetAside, "answer_duplicate_key"),
        (b'{"other_response":{"code":"10000"},"sign":"eA=="}', SetAside, "answer_no_member"),
        (b'{"%(name)s":{"code":"20001"}}', SetAside, "refusal_unsigned"),
        (b'{"error_response":{"code":"20001","sub_code":"aop.invalid-auth-token"}}', SetAside, "refusal_unsigned"),
        (b'{"error_response":{"code":"40002","sub_code":"isv.invalid-app-id"}}', Stop, "request_refused"),
        (b'{"error_response":{"code":"20000","sub_code":"isp.unknow-error"}}', RetryLater, "gateway_unavailable"),
        (b'{"error_response":{"code":"10000"}}', SetAside, "answer_refused"),
        (b'{"%(name)s":{"code":10000},"sign":"eA=="}', SetAside, "answer_signature"),
        (b'{"%(name)s":[],"sign":"eA=="}', RetryLater, "answer_unreadable"),
    ],
)
def test_an_answer_that_proves_nothing_is_believed_in_nothing(
    body: bytes, expected: type[ConnectorError], reason: str
) -> None:
    with pytest.raises(expected) as refused:
        open_answer(body.replace(b"%(name)s", node_name(METHOD).encode()), method=METHOD, key=PUBLIC)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("code", "sub_code", "expected", "reason"),
    [
        ("20000", "isp.unknow-error", RetryLater, "gateway_unavailable"),
        ("20000", "aop.unknow-error", RetryLater, "gateway_unavailable"),
        ("20001", "aop.invalid-auth-token", Reauthorise, "token_refused"),
        ("20001", "aop.auth-token-time-out", Reauthorise, "token_refused"),
        ("20001", "aop.invalid-app-auth-token", Stop, "app_not_permitted"),
        ("40001", "isv.missing-signature", Stop, "request_refused"),
        ("40002", "isv.invalid-signature", Stop, "request_refused"),
        ("40004", "ACQ.SYSTEM_ERROR", RetryLater, "gateway_unavailable"),
        ("40004", "CITY_NOT_SUPPORT", SetAside, "answer_refused"),
        ("40005", "isv.call-limited", RetryLater, "gateway_limited"),
        ("40006", "isv.insufficient-user-permissions", Reauthorise, "scope_refused"),
        ("40006", "isv.insufficient-isv-permissions", Stop, "app_not_permitted"),
        ("99999", None, SetAside, "answer_refused"),
        (None, None, SetAside, "answer_refused"),
        (7, ["x"], SetAside, "answer_refused"),
    ],
)
def test_each_return_code_is_named_by_its_recovery(
    serve: Callable, code: object, sub_code: object, expected: type[ConnectorError], reason: str
) -> None:
    node = json.dumps({"code": code, "msg": "canary", "sub_code": sub_code, "sub_msg": "canary"}).encode()

    def answer(exchange: Any) -> None:
        form_of(exchange)
        exchange.reply_bytes(200, signed(node))

    taken, error = pages(alipay(serve(answer).url).fetch(ACCESS, None, now=NOW, window=SHORT))
    assert (taken, type(error), error.reason) == ([], expected, reason)  # type: ignore[union-attr]
    assert "canary" not in str(error)


def test_what_is_asked_is_signed_by_our_app_and_names_person_and_scene(serve: Callable) -> None:
    forms: list[dict[str, str]] = []

    def answer(exchange: Any) -> None:
        forms.append(form_of(exchange))
        assert (exchange.method, exchange.path) == ("POST", "/gateway.do")
        assert exchange.headers["content-type"] == "application/x-www-form-urlencoded;charset=utf-8"
        exchange.reply_bytes(200, signed(gateway_node([RIDE])))

    pages(alipay(serve(answer).url, source="tanlian").fetch(ACCESS, None, now=NOW, window=SHORT))
    form = forms[0]
    assert verify(signing_text(form).encode(), form["sign"], KEYS.app.public_key())
    assert form["timestamp"] == "2026-10-06 09:30:00"  # Beijing
    names = ("app_id", "method", "format", "charset", "sign_type", "version", "auth_token")
    wanted = ["2021000000000001", METHOD, "JSON", "utf-8", "RSA2", "1.0", "canary-token"]
    assert [form[name] for name in names] == wanted
    assert json.loads(form["biz_content"]) == {
        "city_code": "440300",
        "scene": "CARBON_JUSTICE_METRO",
        "start_time": "2026-10-03 09:30:00",
        "end_time": "2026-10-06 09:30:00",
        "source": "tanlian",
    }


def test_each_scene_of_a_span_is_asked_for_by_itself_and_a_run_goes_on_where_it_stopped(serve: Callable) -> None:
    asked: list[str] = []

    def answer(exchange: Any) -> None:
        scene = json.loads(form_of(exchange)["biz_content"])["scene"]
        asked.append(scene)
        if asked == ["CARBON_JUSTICE_BUS", "CARBON_JUSTICE_METRO"]:
            return exchange.reply(500, {})
        kind = scene.removeprefix("CARBON_JUSTICE_")
        return exchange.reply_bytes(200, signed(gateway_node([RIDE | {"trip_type": kind}])))

    scenes = ["CARBON_JUSTICE_BUS", "CARBON_JUSTICE_METRO", "CARBON_JUSTICE_HITCHHIKING"]
    source = alipay(serve(answer).url, scenes=scenes)
    taken, error = pages(source.fetch(ACCESS, None, now=NOW, window=SHORT))
    assert isinstance(error, RetryLater)
    assert [page.cursor["page"] for page in taken] == ["CARBON_JUSTICE_METRO"]
    more, error = pages(source.fetch(ACCESS, taken[-1].cursor, now=NOW, window=SHORT))
    assert error is None
    assert [json.loads(row)["trip_type"] for page in taken + more for row in page.delivery.rows] == [
        "BUS", "METRO", "HITCHHIKING",
    ]  # fmt: skip
    assert asked == [scenes[0], scenes[1], *scenes[1:]]


def test_rows_are_as_alipay_wrote_them_and_a_bad_one_spoils_no_other(serve: Callable) -> None:
    rows = b'[ {"distance" :8600.00}, {"distance":NaN}, {"a":1,"a":2}, 7, {"distance":"12"} ]'
    node = b'{"code":"10000","carbon_justice_model_list":%s}' % rows

    def answer(exchange: Any) -> None:
        form_of(exchange)
        exchange.reply_bytes(200, signed(node))

    taken, error = pages(alipay(serve(answer).url).fetch(ACCESS, None, now=NOW, window=SHORT))
    assert error is None
    assert taken[0].delivery.rows == (b'{"distance" :8600.00}', b'{"distance":"12"}')
    told = [(bad.position, bad.reason) for bad in taken[0].delivery.unreadable]
    assert told == [(1, "not_a_number"), (2, "duplicate_key"), (3, "not_an_object")]


@pytest.mark.parametrize("rows", [b"7", b'"x"', b"{}", b"true"])
def test_a_list_that_is_none_is_set_aside(serve: Callable, rows: bytes) -> None:
    def answer(exchange: Any) -> None:
        form_of(exchange)
        exchange.reply_bytes(200, signed(b'{"code":"10000","carbon_justice_model_list":%s}' % rows))

    taken, error = pages(alipay(serve(answer).url).fetch(ACCESS, None, now=NOW, window=SHORT))
    assert (taken, type(error)) == ([], SetAside)


@pytest.mark.parametrize(
    "node", [gateway_node(None), gateway_node([]), b'{"code":"10000","carbon_justice_model_list":null}']
)
def test_nobody_rode_and_the_list_is_left_away(serve: Callable, node: bytes) -> None:
    def answer(exchange: Any) -> None:
        form_of(exchange)
        exchange.reply_bytes(200, signed(node))

    taken, error = pages(alipay(serve(answer).url).fetch(ACCESS, None, now=NOW, window=SHORT))
    assert (error, taken[0].delivery.rows) == (None, ())


def test_green_actions_are_asked_for_in_at_most_three_months(serve: Callable) -> None:
    asked: list[dict[str, Any]] = []
    action = {
        "biz_no": "RC26",
        "action_time": "2026-10-05 18:00:00",
        "second_scene": "recycle_paper",
        "biz_value": 1000,
    }

    def answer(exchange: Any) -> None:
        asked.append(json.loads(form_of(exchange)["biz_content"]))
        info = json.dumps({"green_actions": [action]})
        node = json.dumps({"code": "10000", "success": "true", "energy_info": info}).encode()
        exchange.reply_bytes(200, signed(node, method=METHODS["green_actions"]))

    source = alipay(serve(answer).url, stream="green_actions", second_scenes=["recycle_paper"], pid="2088")
    window = Window(since=NOW - timedelta(days=200))
    taken, error = pages(source.fetch(ACCESS, None, now=NOW, window=window))
    assert error is None
    spans = [datetime.fromisoformat(one["end_time"]) - datetime.fromisoformat(one["start_time"]) for one in asked]
    assert len(spans) == 3
    assert max(spans) <= timedelta(days=89)
    assert asked[0]["start_time"] == "2026-03-20 09:30:00"
    assert [one["start_time"] for one in asked[1:]] == [one["end_time"] for one in asked[:-1]]
    assert (asked[0]["green_actions"], asked[0]["pid"]) == ([{"second_scene": "recycle_paper"}], "2088")
    assert json.loads(taken[0].delivery.rows[0]) == action
    assert (source.describe().id_stability, source.describe().streams) == ("stable", ("green_actions",))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"success": "false", "error_code": "canary", "energy_info": "{}"}, "query_unsuccessful"),
        ({"energy_info": "{}"}, "query_unsuccessful"),
        ({"success": "true", "energy_info": 7}, "answer_energy_info"),
        ({"success": "true", "energy_info": "[]"}, "answer_not_json"),
        ({"success": "true", "energy_info": '{"green_actions":7}'}, "answer_no_records"),
        ({"success": "true", "energy_info": "\ud800"}, "answer_energy_info"),
    ],
)
def test_green_actions_of_another_shape_are_set_aside(serve: Callable, members: dict[str, Any], reason: str) -> None:
    def answer(exchange: Any) -> None:
        form_of(exchange)
        node = json.dumps({"code": "10000"} | members).encode()
        exchange.reply_bytes(200, signed(node, method=METHODS["green_actions"]))

    source = alipay(serve(answer).url, stream="green_actions", second_scenes=["recycle_paper"])
    taken, error = pages(source.fetch(ACCESS, None, now=NOW, window=SHORT))
    assert (taken, str(error)) == ([], reason)


def test_carbon_days_name_no_day_tell_thirty_and_stay_texts(serve: Callable) -> None:
    asked: list[dict[str, Any]] = []
    day = {
        "trans_date": "20261005",
        "carbon_value": "296",
        "detail_list": [{"carbon_type": "walk", "carbon_value": "296"}],
    }

    def answer(exchange: Any) -> None:
        asked.append(json.loads(form_of(exchange)["biz_content"]))
        node = json.dumps({"code": "10000", "year": "2026", "forest_open": True, "day_trans_list": [day]}).encode()
        exchange.reply_bytes(200, signed(node, method=METHODS["carbon_days"]))

    source = alipay(serve(answer).url, stream="carbon_days", carbon_types=["walk"])
    taken, error = pages(source.fetch(ACCESS, None, now=NOW))
    assert error is None
    assert asked == [{"carbon_type": ["walk"]}]
    assert json.loads(taken[0].delivery.rows[0])["carbon_value"] == "296"
    more, _ = pages(source.fetch(ACCESS, taken[-1].cursor, now=NOW + timedelta(days=1)))
    assert len(more) == 1


def test_a_check_wants_a_signed_refusal(serve: Callable) -> None:
    node = b'{"code":"20001","sub_code":"aop.invalid-auth-token"}'

    def refusing(exchange: Any) -> None:
        assert "auth_token" not in form_of(exchange)
        exchange.reply_bytes(200, signed(node))

    def unsigned(exchange: Any) -> None:
        form_of(exchange)
        exchange.reply_bytes(200, b'{"error_response":%s}' % node)

    assert alipay(serve(refusing).url).check().ok
    assert alipay(serve(unsigned).url).check().findings == ("refusal_unsigned",)
    assert alipay(serve(answer_alipay).url).check().findings == ("open_without_token",)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"stream": "carbon_months"}, "stream"),
        ({"city_code": "-"}, "city_code"),
        ({"city_name": "深圳"}, "city_name"),
        ({"scenes": ["CARBON_JUSTICE_PLANE"]}, "scenes"),
        ({"scenes": ["CARBON_JUSTICE_BUS", "CARBON_JUSTICE_BUS"]}, "scenes"),
        ({"stream": "green_actions"}, "second_scenes"),
        ({"stream": "carbon_days"}, "carbon_types"),
        ({"gateway_url": "https://openapi.alipay.com/gateway.do?x=1"}, "gateway_url"),
        ({"alipay_public_key": "!"}, "alipay_public_key"),
    ],
)
def test_settings_with_which_nothing_could_be_asked_are_refused(change: dict[str, object], field: str) -> None:
    settings = {"app_id": "2021", "city_code": "440300", "alipay_public_key": KEYS.alipay_public} | change
    with pytest.raises(ConfigError, match=field):
        parse_config(settings, {"app_private_key": KEYS.app_private})


def test_keys_are_read_in_both_writings_and_weak_or_foreign_ones_are_refused() -> None:
    pem = KEYS.app.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    assert parse_private_key(pem, where="x").private_numbers() == KEYS.app.private_numbers()
    public = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert parse_public_key(public, where="x").public_numbers() == PUBLIC.public_numbers()
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    other = ed25519.Ed25519PrivateKey.generate()
    for key in (weak, other):
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(ConfigError):
            parse_private_key(base64.b64encode(der).decode(), where="x")
        shown = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(ConfigError):
            parse_public_key(base64.b64encode(shown).decode(), where="x")


def test_a_cursor_of_an_older_setting_begins_again_with_the_first_scene(serve: Callable) -> None:
    cursor = Cursor(
        read_until=None, span_start="2026-10-04T00:00:00+00:00", span_end="2026-10-06T00:00:00+00:00", page="OLD"
    )
    platform = serve(answer_alipay)
    taken, error = pages(alipay(platform.url).fetch(ACCESS, cursor, now=datetime(2026, 10, 6, tzinfo=UTC)))
    assert (error, len(taken)) == (None, 1)
