"""The platforms of the town, one line each, in the order of `registers.PLATFORMS`. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hub.sandbox.own_bills import OWN_BILLS
from hub.sandbox.people import Person
from hub.sandbox.platforms import (
    alipay,
    baic,
    baidu_maps,
    beijing,
    citic,
    didi,
    ewaybill,
    green_button,
    harbin,
    hello_bike,
    kuaidian,
    kuaidian_asked,
    luzhou,
    olympics,
    own_bills,
    planet,
    puhui,
    shanxi,
    shenzhen,
    takeaway,
    toyota,
    wechat,
    zhenhai,
)
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import PLATFORMS
from hub.sandbox.telling.own_bills import tell_own_bills
from hub.sandbox.telling.report import Report
from hub.sandbox.town import Town

_SPECS = (
    beijing.SPEC,
    citic.SPEC,
    kuaidian.SPEC,
    wechat.SPEC,
    shenzhen.SPEC,
    luzhou.SPEC,
    harbin.SPEC,
    planet.SPEC,
    shanxi.SPEC,
    puhui.SPEC,
    takeaway.SPEC,
    ewaybill.SPEC,
    zhenhai.SPEC,
    alipay.SPEC,
    toyota.SPEC,
    green_button.SPEC,
    didi.SPEC,
    baidu_maps.SPEC,
    hello_bike.SPEC,
    baic.SPEC,
    olympics.SPEC,
)
STAND_INS = (replace(kuaidian.SPEC, feeds=(kuaidian_asked.ASKED,)), own_bills.SPEC)
"""What speaks a format that no platform of the town speaks: for the conformance suite, not for the town.

A platform of the town as it would be in another format, or people who bring files, behind whom there is no platform.
"""

STAND_IN_TELLERS: Mapping[str, Callable[[Town, Person], list[Report]]] = {OWN_BILLS: tell_own_bills}
"""What is told where a stand-in is no platform of the town."""

SPECS: Mapping[str, Spec] = {platform: {spec.id: spec for spec in _SPECS}[platform] for platform in PLATFORMS}
