"""beijing-green-life: pushes its acts in signed messages, and lists them again in its ledger of points. I/O: network."""

from hub.sandbox.platforms.profile_pull import pull_feed
from hub.sandbox.platforms.profile_push import PushVoice, push_agreed, push_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import BEIJING


class BeijingGreenLife(PushVoice):
    """The platform's side of the signed push profile."""

    tampering = ('"ver":1', '"ver":7')


SPEC = Spec(
    id=BEIJING,
    name_zh="北京绿色生活季（模拟）",
    name_en="Beijing Green Life (simulated)",
    kind="city",
    behaviours=("MOB-BIKE", "MOB-METRO", "MOB-BUS", "FOOD-NOTABLEWARE", "FOOD-CLEANPLATE", "USE-EWAYBILL"),
    agreed=push_agreed("beijing"),
    feeds=(
        push_feed("acts", role="aggregator", drops=["mobile", "nickname"], voice=BeijingGreenLife),
        pull_feed("points_ledger", role="aggregator", drops=["mobile", "nickname"], first=False),
    ),
)
