"""green-puhui-cloud: pushes the acts of other platforms in signed messages. I/O: network."""

from hub.sandbox.platforms.profile_push import push_agreed, push_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import PUHUI

SPEC = Spec(
    id=PUHUI,
    name_zh="绿普惠云（模拟）",
    name_en="Green Puhui Cloud (simulated)",
    kind="aggregator",
    behaviours=(
        "MOB-BIKE", "MOB-METRO", "MOB-BUS", "MOB-WALK", "MOB-EVCHARGE", "FOOD-NOTABLEWARE", "FOOD-CLEANPLATE",
        "USE-EWAYBILL",
    ),
    agreed=push_agreed("puhui"),
    feeds=(push_feed("acts", role="aggregator", drops=["mobile", "nickName"]),),
)  # fmt: skip
