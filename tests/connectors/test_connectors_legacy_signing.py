"""Older rules of signing: every published vector as it is published, and what must not change a signature or must."""

import hashlib
import hmac

import pytest

from connectors.formats.tcec_envelope import sign as sign_tcec
from connectors.legacy_signing import SCHEMES, is_signed, quote_query, sign_pairs, sign_texts
from connectors.webhook_signature import parse_secret, sign_message

# WeChat Pay v2, the official example.
PAY = {
    "appid": "wxd930ea5d5a258f4f",
    "mch_id": "10000100",
    "device_info": "1000",
    "body": "test",
    "nonce_str": "ibuaiVcKdpRxkhJA",
}
PAY_KEY = "192006250b4c09247ec02edce69f6a2d"
# A parking platform's sample: a value that is itself JSON, with Chinese.
PARKING = {
    "timestamp": "1539571096",
    "serviceName": "enterNotify",
    "pid": "123456",
    "bizContent": '{"enterTime":"2018-01-01 11:00:00","parkCode":"TEST/1P1","plateNum":"粤B12345"}',
}
# Made from DiDi's rule with made-up values.
RIDE = {
    "client_id": "client_id_test",
    "access_token": "access_token_test",
    "timestamp": "1566764837",
    "company_id": "12345678980",
    "offset": "0",
    "length": "100",
}
# WeChat's official example of `signature`.
RAW_DATA = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN",'
    '"avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpu'
    'jxyzYsrztuuICqIM5ibXQ/0"}'
)
TCEC_DATA = (
    "il7B0BSEjFdzpyKzfOFpvg/Se1CP802RItKYFPfSLRxJ3jf0bVl9hvYOEktPAYW2nd7S8MBcyHYyacHKbISq5iTmDzG+ivnR+SZJv3USNTYVMz9r"
    "CQVSxd0cLlqsJauko79NnwQJbzDTyLooYoIwz75qBOH2/xOMirpeEqRJrF/EQjWekJmGk9RtboXePu2rka+Xm51syBPhiXJAq0GfbfaFu9tNqs/e"
    "2Vjja/ltE1M0lqvxfXQ6da6HrThsm5id4ClZFIi0acRfrsPLRixS/IQYtksxghvJwbqOsbIsITail9Ayy4tKcogeEZiOO+4Ed264NSKmk7l3wKwJ"
    "LAFjCFogBx8GE3OBz4pqcAn/ydA="
)


@pytest.mark.parametrize(
    ("name", "pairs", "key", "signature"),
    [
        ("sorted_md5", PAY, PAY_KEY, "9A0A8659F005D6984697E2CA0A9CF3B7"),
        ("sorted_hmac_sha256", PAY, PAY_KEY, "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"),
        ("sorted_md5", PARKING, "45DC1F8604F940829E75D6A76595C299", "EE454BE0DE3D211559865DA33745E589"),
        ("sorted_key_inside_md5", RIDE, "testkey", "cecf263fb189340e575d4faf210a5ef2"),
    ],
    ids=["WeChat Pay v2, MD5", "WeChat Pay v2, HMAC-SHA256", "nested JSON with Chinese", "DiDi, key inside the sort"],
)
def test_named_values_are_signed_as_published(name: str, pairs: dict[str, str], key: str, signature: str) -> None:
    assert sign_pairs(name, pairs, key) == signature


@pytest.mark.parametrize(
    ("name", "texts", "key", "signature"),
    [
        (
            "concat_hmac_md5",
            ["123456789", TCEC_DATA, "20160729142400", "0001"],
            "1234567890abcdef",
            "745166E8C43C84D37FFEC0F529C4136F",
        ),
        ("concat_sha1", [RAW_DATA], "HyVFkGl5F5OQWJZZaNzBBg==", "75e81ceda165f4ffa64f4068af58c64b8f54b88c"),
        (
            "quoted_md5",
            [quote_query("/geocoder/v2/?address=百度大厦&output=json&ak=yourak")],
            "yoursk",
            "7de5a22212ffaa9e326444c75a58f9a0",
        ),
        ("sm3", ["abc"], "", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
    ],
    ids=["T/CEC 102.4 appendix C", "WeChat signature of rawData", "Baidu sn", "SM3 of abc (GB/T 32905)"],
)
def test_texts_are_signed_as_published(name: str, texts: list[str], key: str, signature: str) -> None:
    assert sign_texts(name, texts, key) == signature


def test_the_vector_of_standard_webhooks_is_signed_by_the_module_of_the_hubs_own_form() -> None:
    signature = sign_message(
        parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("name", "texts", "key", "signed"),
    [
        ("concat_md5", ["param", "t", "key"], "secret", b"paramtkeysecret"),
        ("sorted_texts_sha1", ["1539571096", "nonce"], "token", b"1539571096noncetoken"),
        ("sorted_texts_sha1", ["nonce", "1539571096"], "0token", b"0token1539571096nonce"),
    ],
)
def test_rules_without_a_published_vector_digest_the_text_they_say(
    name: str, texts: list[str], key: str, signed: bytes
) -> None:
    digest = hashlib.md5 if name == "concat_md5" else hashlib.sha1
    assert sign_texts(name, texts, key).lower() == digest(signed).hexdigest()


def test_the_bare_pairs_of_meituan_stand_after_the_key() -> None:
    pairs = {"ePoiId": "p1", "developerId": "100", "order": "{}", "sign": "x"}
    assert sign_pairs("sorted_bare_sha1", pairs, "k") == hashlib.sha1(b"kdeveloperId100ePoiIdp1order{}").hexdigest()


def test_the_key_inside_the_sort_may_be_digested_with_sha256() -> None:
    text = "access_token=access_token_test&client_id=client_id_test&company_id=12345678980&length=100&offset=0"
    text += "&sign_key=testkey&timestamp=1566764837"
    signature = sign_pairs("sorted_key_inside_sha256", RIDE, "testkey")
    assert signature == hashlib.sha256(text.encode()).hexdigest()


def test_the_printing_error_of_many_copies_gives_another_signature() -> None:
    assert sign_pairs("sorted_md5", PAY | {"appid": "wx5d8a30ea5d5a258f"}, PAY_KEY) != sign_pairs(
        "sorted_md5", PAY, PAY_KEY
    )


@pytest.mark.parametrize("name", ["sorted_md5", "sorted_hmac_sha256", "sorted_key_inside_md5", "sorted_bare_sha1"])
def test_empty_values_the_signature_and_the_order_do_not_matter_and_everything_else_does(name: str) -> None:
    signature = sign_pairs(name, PAY, PAY_KEY)
    assert sign_pairs(name, {**dict(reversed(PAY.items())), "attach": "", "sign": signature}, PAY_KEY) == signature
    for label in PAY:
        assert sign_pairs(name, PAY | {label: PAY[label] + "0"}, PAY_KEY) != signature
    assert sign_pairs(name, PAY, PAY_KEY[:-1]) != signature
    assert sign_pairs(name, PAY | {"more": "1"}, PAY_KEY) != signature


def test_order_matters_where_the_rule_does_not_sort() -> None:
    assert sign_texts("concat_md5", ["a", "b"], "k") != sign_texts("concat_md5", ["b", "a"], "k")
    other = quote_query("/geocoder/v2/?output=json&address=百度大厦&ak=yourak")
    assert sign_texts("quoted_md5", [other], "yoursk") != "7de5a22212ffaa9e326444c75a58f9a0"


def test_the_envelope_of_t_cec_signs_by_the_same_rule() -> None:
    parts = ["123456789", TCEC_DATA, "20160729142400", "0001"]
    assert sign_texts("concat_hmac_md5", parts, "1234567890abcdef") == sign_tcec(b"1234567890abcdef", *parts)


@pytest.mark.parametrize(
    ("told", "fits"),
    [("AB12", True), ("ab12", True), ("ab13", False), ("", False), ("ab1", False), ("é", False), ("\ud800", False)],
)
def test_signatures_are_compared_without_regard_to_capitals(told: str, fits: bool) -> None:
    assert is_signed(told, "ab12") is fits


def test_every_rule_is_tried_by_a_test_above() -> None:
    assert set(SCHEMES) == {
        "sorted_md5",
        "sorted_hmac_sha256",
        "sorted_key_inside_md5",
        "sorted_key_inside_sha256",
        "sorted_bare_sha1",
        "concat_hmac_md5",
        "concat_md5",
        "concat_sha1",
        "sorted_texts_sha1",
        "quoted_md5",
        "sm3",
    }


def test_the_key_of_a_keyed_digest_is_not_merely_appended() -> None:
    text = (
        "appid=wxd930ea5d5a258f4f&body=test&device_info=1000&mch_id=10000100&nonce_str=ibuaiVcKdpRxkhJA&key=" + PAY_KEY
    )
    keyed = hmac.digest(PAY_KEY.encode(), text.encode(), "sha256").hex().upper()
    assert sign_pairs("sorted_hmac_sha256", PAY, PAY_KEY) == keyed
