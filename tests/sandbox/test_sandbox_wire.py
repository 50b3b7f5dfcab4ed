"""The T/CEC 102 envelope against the standard's own figures."""

import pytest

from hub.sandbox.platforms.tcec_wire import (
    BadReplyError,
    WireKeys,
    decrypt_data,
    encrypt_data,
    open_reply,
    request_envelope,
    sign_parts,
)

# Key, IV and signing secret of T/CEC 102.4-2016, appendix B.
KEYS = WireKeys(data_secret="1234567890abcdef", data_secret_iv="1234567890abcdef", sig_secret="1234567890abcdef")
# Appendix C: the published ciphertext and its signature.
DATA = (
    "il7B0BSEjFdzpyKzfOFpvg/Se1CP802RItKYFPfSLRxJ3jf0bVl9hvYOEktPAYW2nd7S8MBcyHYyacHKbISq5iTmDzG+ivnR+SZJv3USNTYVMz9rCQVSxd"
    "0cLlqsJauko79NnwQJbzDTyLooYoIwz75qBOH2/xOMirpeEqRJrF/EQjWekJmGk9RtboXePu2rka+Xm51syBPhiXJAq0GfbfaFu9tNqs/e2Vjja/ltE1M0"
    "lqvxfXQ6da6HrThsm5id4ClZFIi0acRfrsPLRixS/IQYtksxghvJwbqOsbIsITail9Ayy4tKcogeEZiOO+4Ed264NSKmk7l3wKwJLAFjCFogBx8GE3OBz4"
    "pqcAn/ydA="
)
SIG = "745166E8C43C84D37FFEC0F529C4136F"
# A public charge order; ciphertext and signature follow from it with the same keys.
ORDER = (
    '{"StartChargeSeq":"123456789665000001176708522","ConnectorID":"1","StartTime":"2019-04-18 11:29:29",'
    '"EndTime":"2019-04-18 11:39:30","TotalPower":6.00,"TotalElecMoney":6.00,"TotalSeviceMoney":6.00,'
    '"TotalMoney":12.00,"StopReason":2,"SumPeriod":0,"ChargeDetails":[]}'
)


def test_the_published_signature_is_ours() -> None:
    assert request_envelope(KEYS, "123456789", DATA, "20160729142400", "0001")["Sig"] == SIG


def test_the_published_ciphertext_opens() -> None:
    text = decrypt_data(KEYS, DATA)
    assert text.startswith(b'{"total":1,"stationStatusInfo":{"operationID":"123456789"')
    assert encrypt_data(KEYS, text) == DATA


def test_a_charge_order_is_sealed_as_others_seal_it() -> None:
    data = encrypt_data(KEYS, ORDER.encode())
    assert data.startswith("X6j5yLBjFJIUuR/iC32nO0jJf6Hk41m1BqWtcRX0/eYvf1Ep/bTAedR0bziOAWth")
    assert data.endswith("5Va/FOU8GOPqKQNE9PIETdj26Dc=")
    envelope = request_envelope(KEYS, "123456789", data, "20190418113931", "0001")
    assert envelope["Sig"] == "1488E1DE5BA5901ED7EB735F70404027"


def test_a_reply_signed_by_somebody_else_is_refused() -> None:
    body = b'{"Ret":0,"Msg":"","Data":"","Sig":"00000000000000000000000000000000"}'
    with pytest.raises(BadReplyError, match="not signed"):
        open_reply(KEYS, body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"Ret":"x","Msg":"","Data":"","Sig":""}', b"\xff"])
def test_a_reply_without_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadReplyError):
        open_reply(KEYS, body)


def test_a_reply_in_either_spelling_is_read() -> None:
    data = encrypt_data(KEYS, b'{"SuccStat":0,"AccessToken":"t"}')
    signature = sign_parts(KEYS, "0", "ok", data)
    for names in (("Ret", "Msg", "Data", "Sig"), ("ret", "msg", "data", "sig")):
        ret, msg, text, sig = names
        body = f'{{"{ret}":0,"{msg}":"ok","{text}":"{data}","{sig}":"{signature}"}}'.encode()
        assert open_reply(KEYS, body) == (0, {"succstat": 0, "accesstoken": "t"})
