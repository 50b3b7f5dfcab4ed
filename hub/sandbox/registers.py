"""Who has an account where, and under which name: one line for each platform of the town. Pure.

A platform is added by a line at the end: the order decides the ports. Dice do not depend on it.
"""

import hashlib
import hmac
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

CITY_BEIJING, CITY_SHENZHEN = "110000", "440300"  # GB/T 2260
CITY_LUZHOU, CITY_HARBIN, CITY_TAIYUAN, CITY_ZHENHAI = "510500", "230100", "140100", "330211"
OTHER_CITIES = (CITY_LUZHOU, CITY_HARBIN, CITY_TAIYUAN, CITY_ZHENHAI)

BEIJING = "beijing-green-life"
CITIC = "citic-carbon"
KUAIDIAN = "kuaidian"
WECHAT = "wechat-sports"
SHENZHEN = "shenzhen-transit"
LUZHOU = "luzhou-green-bud"
HARBIN = "harbin-carbon-ice"
PLANET = "shenzhen-low-carbon-planet"
SHANXI = "shanxi-green-life"
PUHUI = "green-puhui-cloud"
TOYOTA = "toyota-green-drive"
BAIC = "baic-weilan"
DIDI = "didi"
BAIDU = "baidu-maps"
TAKEAWAY = "takeaway"
EWAYBILL = "ewaybill"
ZHENHAI = "zhenhai-green-passbook"
OLYMPICS = "winter-olympics-2022"
ALIPAY = "alipay-green"
GREEN_BUTTON = "green-button"
HELLO_BIKE = "hello-bike"

_CARD_STEP = 387_420_489  # 3**18: coprime with 10**9, so that card numbers are scattered and never meet


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Who has an account at a platform.

    Attributes:
        odds: how many of those who live in its cities.
        account: from the town's seed and the person's number, the platform's own name for the person.
        cities: GB/T 2260 codes; None: it is known everywhere.
        first: one of the five platforms that the town began with; their dice are thrown together.
    """

    platform: str
    odds: float
    account: Callable[[int, int], str]
    cities: frozenset[str] | None = None
    first: bool = False


def town_secret(seed: int, name: str) -> bytes:
    """Return 32 bytes that follow from the seed: good for a sandbox, worthless as a real secret."""
    return hmac.new(f"sandbox-town-{seed}".encode(), name.encode(), hashlib.sha256).digest()


def dice_of(platform: str) -> int:
    """Return the corner of the town's dice that is a platform's own, wherever it stands in the list."""
    return 1000 + zlib.crc32(platform.encode())


def _numbered(prefix: str) -> Callable[[int, int], str]:
    return lambda seed, index: f"{prefix}-{index:06d}"


def _opaque(prefix: str, name: str) -> Callable[[int, int], str]:
    return lambda seed, index: prefix + town_secret(seed, f"{name}/{index}").hex()[: 28 - len(prefix)]


def _card_number(seed: int, index: int) -> str:
    """Nine letters A to J, as Shenzhen's card records write a card."""
    number = (index * _CARD_STEP + seed * 7919) % 10**9
    return "".join("ABCDEFGHIJ"[int(digit)] for digit in f"{number:09d}")


def vin_of(index: int) -> str:
    """Return the vehicle of a person, 17 characters; no maker has them."""
    return f"LTEST{index:012d}"


def vin_key_of(secret: Callable[[str], bytes]) -> str:
    """Return the key with which a maker and the hub name vehicles."""
    return secret("baic/vin").hex()


def _vehicle(seed: int, index: int) -> str:
    """A maker's programme knows people by their vehicle, and the hub by its keyed hash only."""
    key = vin_key_of(partial(town_secret, seed)).encode()
    return hmac.new(key, vin_of(index).encode(), hashlib.sha256).hexdigest()[:32]


_LARGE = frozenset({CITY_BEIJING, CITY_SHENZHEN})

REGISTERS = (
    Register(platform=BEIJING, odds=0.85, account=_numbered("bj"), first=True, cities=_LARGE),
    Register(platform=CITIC, odds=0.70, account=_numbered("citic"), first=True),
    Register(platform=KUAIDIAN, odds=0.35, account=_numbered("kd"), first=True),
    Register(platform=WECHAT, odds=0.75, account=_opaque("o", "openid"), first=True),
    Register(platform=SHENZHEN, odds=0.60, account=_card_number, first=True, cities=frozenset({CITY_SHENZHEN})),
    Register(platform=LUZHOU, odds=0.85, account=_numbered("lz"), cities=frozenset({CITY_LUZHOU})),
    Register(platform=HARBIN, odds=0.85, account=_numbered("hrb"), cities=frozenset({CITY_HARBIN})),
    Register(platform=PLANET, odds=0.50, account=_opaque("oLCP", "planet"), cities=frozenset({CITY_SHENZHEN})),
    Register(platform=SHANXI, odds=0.85, account=_numbered("sx"), cities=frozenset({CITY_TAIYUAN})),
    Register(platform=PUHUI, odds=0.45, account=_opaque("ph-", "puhui")),
    Register(platform=TAKEAWAY, odds=0.60, account=_numbered("mt")),
    Register(platform=EWAYBILL, odds=0.50, account=_opaque("oEWB", "ewaybill")),
    Register(platform=ZHENHAI, odds=0.90, account=_numbered("zh"), cities=frozenset({CITY_ZHENHAI})),
    Register(platform=ALIPAY, odds=0.45, account=_opaque("074a", "alipay")),
    Register(platform=TOYOTA, odds=0.25, account=_opaque("ty-", "toyota")),
    Register(platform=GREEN_BUTTON, odds=0.30, account=_numbered("sub")),
    Register(platform=DIDI, odds=0.35, account=lambda seed, index: f"11259{index:08d}"),
    Register(platform=BAIDU, odds=0.40, account=_opaque("bd-", "baidu")),
    Register(platform=BAIC, odds=0.20, account=_vehicle),
    Register(platform=OLYMPICS, odds=0.20, account=_opaque("wo-", "olympics")),
)  # fmt: skip

FIRST = tuple(register.platform for register in REGISTERS if register.first)

NAMELESS: tuple[str, ...] = (HELLO_BIKE,)
"""Platforms without accounts: what they tell names nobody."""

PLATFORMS = (*(register.platform for register in REGISTERS), *NAMELESS)
"""Every platform of the town, in the order of its port."""
