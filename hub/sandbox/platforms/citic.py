"""citic-carbon: a cursor-paged records API, and a signed file of the day with the same entries. I/O: HTTP in, files."""

from hub.sandbox.platforms.citic_card import card_feed
from hub.sandbox.platforms.citic_statements import statements_feed
from hub.sandbox.platforms.profile_drop import DropVoice, drop_agreed, drop_feed
from hub.sandbox.platforms.profile_pull import PullVoice, pull_feed
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import CITIC
from hub.sandbox.telling.citic_daily import STREAM


class CiticCarbon(PullVoice):
    """The platform's side of the cursor pull profile. Rows of a part show once the part is delivered."""


class CiticDaily(DropVoice):
    """The bank's daily file, in the encoding of Chinese bank files."""

    told_stream = STREAM
    file_name = "carbon.csv"
    encoding = "gb18030"


SPEC = Spec(
    id=CITIC,
    name_zh="中信碳账户（模拟）",
    name_en="CITIC Carbon Account (simulated)",
    kind="bank",
    behaviours=("MOB-BIKE", "MOB-METRO", "MOB-BUS", "MOB-EVCHARGE", "FIN-ECARD", "FIN-ESTATEMENT", "FIN-BILLPAY"),
    agreed=drop_agreed("citic"),
    feeds=(
        pull_feed("acts", role="payment", drops=["maskedPan"], voice=CiticCarbon),
        drop_feed(CiticDaily, role="payment", drops=["CARD_NO", "CUST_NAME", "MOBILE"], first=False),
        card_feed(),
        statements_feed(),
    ),
)
