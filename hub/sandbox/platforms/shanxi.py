"""shanxi-green-life: pushes its acts in signed messages, and writes them again into the day's table. I/O: network, files."""

from hub.sandbox.platforms.profile_drop import DropVoice, drop_agreed, drop_feed
from hub.sandbox.platforms.profile_push import push_agreed, push_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import SHANXI


class ShanxiDaily(DropVoice):
    """The table of the day."""

    told_stream = "daily"
    file_name = "acts.csv"


SPEC = Spec(
    id=SHANXI,
    name_zh="三晋绿色生活（模拟）",
    name_en="Shanxi Green Life (simulated)",
    kind="city",
    behaviours=("MOB-BIKE", "MOB-EVCHARGE", "FOOD-NOTABLEWARE"),
    agreed=lambda secret: push_agreed("shanxi")(secret) | drop_agreed("shanxi")(secret),
    feeds=(
        push_feed("acts", role="aggregator", drops=["mobile", "memberName"]),
        drop_feed(ShanxiDaily, role="aggregator", drops=["mobile", "member_name"], first=False),
    ),
)
