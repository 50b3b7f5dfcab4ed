"""luzhou-green-bud: pushes its acts in signed messages. I/O: network."""

from hub.sandbox.platforms.profile_push import push_agreed, push_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import LUZHOU

SPEC = Spec(
    id=LUZHOU,
    name_zh="泸州绿芽积分（模拟）",
    name_en="Luzhou Green Bud Points (simulated)",
    kind="city",
    behaviours=("FOOD-CLEANPLATE", "MOB-BUS", "MOB-WALK", "MOB-NODRIVE", "CLO-RECYCLE"),
    agreed=push_agreed("luzhou"),
    feeds=(push_feed("acts", role="aggregator", drops=["mobile", "nickName", "photoUrl"]),),
)
