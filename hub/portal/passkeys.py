"""What the pages with passkeys share: the answer to the script, and sentences for the person. I/O: HTTP."""

from fastapi import Response

from consent.passkeys import PasskeyRefusal

OWN_PAGE = "请从本页面提交表单。 Please send the form from this page."
BLOCKED = "尝试次数过多，请几分钟后再试。 Too many tries. Wait a few minutes, then try again."
NOT_HERE = (
    "本站地址不支持通行密钥。 Browsers give passkeys to a named address over https only, or to localhost, "
    "and this hub is served under another."
)
_SENTENCES = {
    PasskeyRefusal.STALE: "等待太久或页面已用过，请再试一次。 That took too long or was sent before. Please try again.",
    PasskeyRefusal.WRONG: "无法验证这个通行密钥。 That passkey could not be verified.",
    PasskeyRefusal.UNKNOWN: "这里没有登记这个通行密钥。 That passkey is not registered here.",
    PasskeyRefusal.COPIED: (
        "这个通行密钥可能被复制过，已拒绝。请用其他方式登录并移除它。 "
        "There may be a copy of this passkey, so it was refused. Sign in another way and remove it."
    ),
    PasskeyRefusal.TAKEN: "这个通行密钥已登记。 That passkey is registered already.",
    PasskeyRefusal.TOO_MANY: "通行密钥太多，请先移除一个。 There are too many passkeys. Remove one first.",
}


def tell_refusal(refusal: PasskeyRefusal) -> str:
    """Return the sentence that a person is shown."""
    return _SENTENCES[refusal]


def options_answer(options: str | None) -> Response:
    """Answer the script with a ceremony's options; None refuses, and the script says so on its page."""
    if options is None:
        return Response("{}", status_code=403, media_type="application/json")
    return Response(options, media_type="application/json")
