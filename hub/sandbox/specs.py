"""The platforms of the town, one line each, in the order of `registers.PLATFORMS`. Pure."""

from collections.abc import Mapping
from dataclasses import replace

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
STAND_INS = (replace(kuaidian.SPEC, feeds=(kuaidian_asked.ASKED,)),)
"""Platforms of the town as they would be if they spoke another format: for the conformance suite, not for the town."""

SPECS: Mapping[str, Spec] = {platform: {spec.id: spec for spec in _SPECS}[platform] for platform in PLATFORMS}
