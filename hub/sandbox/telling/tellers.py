"""What each platform has to say: one line for each feed of the town. Pure."""

from collections.abc import Callable

from hub.sandbox.people import Person
from hub.sandbox.telling.alipay import tell_alipay, tell_alipay_actions
from hub.sandbox.telling.baic_odometer import tell_baic_odometer
from hub.sandbox.telling.baic_staff import tell_baic_staff
from hub.sandbox.telling.baidu_maps import tell_baidu_maps
from hub.sandbox.telling.beijing import tell_beijing
from hub.sandbox.telling.beijing_ledger import tell_beijing_ledger
from hub.sandbox.telling.citic import tell_citic
from hub.sandbox.telling.citic_card import tell_citic_card
from hub.sandbox.telling.citic_daily import tell_citic_daily
from hub.sandbox.telling.citic_statements import tell_citic_statements
from hub.sandbox.telling.didi import tell_didi
from hub.sandbox.telling.ewaybill import tell_labels, tell_waybills
from hub.sandbox.telling.green_button import tell_green_button
from hub.sandbox.telling.harbin import tell_harbin, tell_harbin_daily
from hub.sandbox.telling.hello_bike import tell_hello_bike
from hub.sandbox.telling.kuaidian import tell_kuaidian
from hub.sandbox.telling.kuaidian_cdrs import tell_kuaidian_cdrs
from hub.sandbox.telling.luzhou import tell_luzhou
from hub.sandbox.telling.olympics import tell_olympics
from hub.sandbox.telling.planet import tell_planet
from hub.sandbox.telling.puhui import tell_puhui
from hub.sandbox.telling.report import Report
from hub.sandbox.telling.shanxi import tell_shanxi, tell_shanxi_daily
from hub.sandbox.telling.shenzhen import tell_shenzhen
from hub.sandbox.telling.takeaway import tell_takeaway
from hub.sandbox.telling.toyota import tell_toyota
from hub.sandbox.telling.toyota_staff import tell_toyota_staff
from hub.sandbox.telling.wechat import tell_wechat
from hub.sandbox.telling.zhenhai import tell_zhenhai
from hub.sandbox.telling.zhenhai_passbook import tell_zhenhai_passbook
from hub.sandbox.town import Town

TELLERS: tuple[Callable[[Town, Person], list[Report]], ...] = (
    tell_beijing,
    tell_citic,
    tell_kuaidian,
    tell_wechat,
    tell_shenzhen,
    tell_beijing_ledger,
    tell_citic_daily,
    tell_luzhou,
    tell_harbin,
    tell_harbin_daily,
    tell_planet,
    tell_shanxi,
    tell_shanxi_daily,
    tell_puhui,
    tell_takeaway,
    tell_waybills,
    tell_labels,
    tell_zhenhai,
    tell_zhenhai_passbook,
    tell_alipay,
    tell_alipay_actions,
    tell_citic_card,
    tell_toyota,
    tell_toyota_staff,
    tell_green_button,
    tell_baidu_maps,
    tell_didi,
    tell_hello_bike,
    tell_kuaidian_cdrs,
    tell_baic_odometer,
    tell_baic_staff,
    tell_citic_statements,
    tell_olympics,
)
