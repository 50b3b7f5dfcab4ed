"""zhenhai-green-passbook: the platform of the weighing machines posts what was dropped and what became of it. I/O: network."""

from hub.sandbox.platforms.profile_drop import DropVoice, drop_agreed, drop_feed
from hub.sandbox.platforms.profile_push import PushVoice, push_agreed
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import ZHENHAI

MERCHANT = "ZHENHAI-0001"


class RecyclingMachines(PushVoice):
    """`recycleRecordSave` inside the hub's signature, and the sign-in."""

    numbers_versions = False
    tampering = ('"violationStatus":0', '"violationStatus":1')
    frame = ("[", "]")

    def door(self) -> str:
        return f"{super().door()}/recycleRecordSave"

    def _signed(self, message_id: str, body: str) -> dict[str, str]:
        return super()._signed(message_id, body) | {"sendBy": MERCHANT}


RECYCLING = Feed(
    stream="recycling",
    connector="recycling",
    voice=RecyclingMachines,
    config=lambda place: {"send_by": MERCHANT},
    secrets=lambda agreed: {"webhook_secrets": agreed["webhook_secret"]},
)


class VillageTable(DropVoice):
    """What the exchange point writes into passbooks, as its office software saves it."""

    told_stream = "passbook"
    file_name = "passbook.csv"
    encoding = "gb18030"


SPEC = Spec(
    id=ZHENHAI,
    name_zh="镇海绿色存折（模拟）",
    name_en="Zhenhai green passbook (simulated)",
    kind="community",
    behaviours=("CLO-RECYCLE", "HOME-WASTESORT"),
    agreed=lambda secret: push_agreed("zhenhai")(secret) | drop_agreed("zhenhai")(secret),
    feeds=(RECYCLING, drop_feed(VillageTable, role="operator", drops=["户主", "电话", "门牌", "经办人"], first=False)),
)
