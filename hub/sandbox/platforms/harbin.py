"""harbin-carbon-ice: pushes its acts in signed messages, and writes them again into the day's table. I/O: network, files."""

from hub.sandbox.platforms.profile_drop import DropVoice, drop_agreed, drop_feed
from hub.sandbox.platforms.profile_push import push_agreed, push_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import HARBIN


class HarbinDaily(DropVoice):
    """The table as the city's office saves it."""

    told_stream = "daily"
    file_name = "acts.csv"
    encoding = "gb18030"


SPEC = Spec(
    id=HARBIN,
    name_zh="哈尔滨碳惠冰城（模拟）",
    name_en="Harbin Carbon Ice City (simulated)",
    kind="city",
    behaviours=("MOB-BIKE", "MOB-BUS", "MOB-METRO", "FOOD-NOTABLEWARE", "FOOD-CLEANPLATE"),
    agreed=lambda secret: push_agreed("harbin")(secret) | drop_agreed("harbin")(secret),
    feeds=(
        push_feed("acts", role="aggregator", drops=["sjh", "xm"]),
        drop_feed(HarbinDaily, role="aggregator", drops=["手机号", "姓名"], first=False),
    ),
)
