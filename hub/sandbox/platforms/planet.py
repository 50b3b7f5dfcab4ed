"""shenzhen-low-carbon-planet: a cursor-paged list of rides. I/O: HTTP in."""

from hub.sandbox.platforms.profile_pull import pull_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import PLANET

SPEC = Spec(
    id=PLANET,
    name_zh="深圳低碳星球（模拟）",
    name_en="Low Carbon Planet, Shenzhen (simulated)",
    kind="city",
    behaviours=("MOB-METRO", "MOB-BUS"),
    feeds=(pull_feed("acts", role="aggregator", drops=["nickName", "phoneNumber"]),),
)
