"""baic-weilan: drops the frames of its owners' cars with the declared no-drive days, and pushes its staff's acts. I/O: files."""

import struct
from collections.abc import Callable
from functools import reduce
from operator import xor

from hub.sandbox.acts import BEIJING_TIME
from hub.sandbox.platforms.profile_drop import DropVoice, drop_agreed, drop_feed
from hub.sandbox.platforms.profile_push import push_agreed, push_feed
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import BAIC, vin_key_of, vin_of
from hub.sandbox.reports import Report
from hub.sandbox.telling.baic_odometer import Reading, readings_until
from hub.sandbox.telling.baic_staff import STREAM as STAFF

_VIN_KEY = "vin_key"
_INVALID = 0xFF


class BaicOdometer(DropVoice):
    """The programme's side: the cars of everybody who takes part, frame after frame, and who declared which day."""

    numbers_versions = False
    told_stream = "odometer"
    tampering = (b"LTEST", b"LTESU")

    def files(self, part: int, rows: tuple[Report, ...]) -> dict[str, tuple[bytes, int]]:
        town = self.site.reports.town
        cars = [person for person in town.people if BAIC in person.accounts]
        frames = [_frame(vin_of(car.index), reading) for car in cars for reading in readings_until(town, car, part)]
        frames += [_frame(vin_of(car.index), None) for car in cars]  # somebody unlocks the car: no odometer is told
        declared = ["vin,date", *(line for row in rows for line in row.lines)]
        return {
            "frames.bin": (b"".join(frames), len(frames)),
            "declared.csv": ("".join(line + "\r\n" for line in declared).encode(), len(declared) - 1),
        }


def _frame(vin: str, reading: Reading | None) -> bytes:
    """Write one frame of GB/T 32960.3-2016: real-time data, or a login where there is no reading."""
    head = vin.encode() + b"\x01"
    if reading is None:
        data = bytes([26, 10, 1, 8, 0, 0, 0, 1]) + b"89860000000000000000" + b"\x01\x00"
        return _sealed(b"\x01\xfe" + head, data)
    at = reading.at.astimezone(BEIJING_TIME)
    stamp = bytes([at.year - 2000, at.month, at.day, at.hour, at.minute, at.second])
    # Parked, not charging, electric; speed 0, odometer, 388.0 V, 0 A, 80 %, no insulation value, no pedals.
    vehicle = struct.pack(
        ">BBBHIHHBBBHBB", 2, 3, 1, 0, reading.odometer, 3880, 10_000, 80, 1, 0, 0xFFFF, _INVALID, _INVALID
    )
    place = b"\x05\x01" + bytes(8)  # a position that is not valid
    return _sealed(b"\x02\xfe" + head, stamp + place + b"\x01" + vehicle)


def _sealed(head: bytes, data: bytes) -> bytes:
    body = head + len(data).to_bytes(2, "big") + data
    return b"##" + body + bytes([reduce(xor, body)])


def _odometer_feed() -> Feed:
    feed = drop_feed(BaicOdometer, connector="gbt32960")
    return Feed(
        stream=feed.stream,
        connector=feed.connector,
        voice=feed.voice,
        config=feed.config,
        secrets=lambda agreed: {_VIN_KEY: agreed[_VIN_KEY]},
    )


def _agreed(secret: Callable[[str], bytes]) -> dict[str, str]:
    return {
        **drop_agreed("baic")(secret),
        **push_agreed("baic-staff", STAFF)(secret),
        _VIN_KEY: vin_key_of(secret),
    }


SPEC = Spec(
    id=BAIC,
    name_zh="北汽卫蓝有迹（模拟）",
    name_en="BAIC Weilan (simulated)",
    kind="enterprise",
    behaviours=("MOB-NODRIVE", "FOOD-CLEANPLATE", "FOOD-OWNCUP", "OFF-PAPERLESS", "MOB-BUS", "MOB-BIKE"),
    agreed=_agreed,
    feeds=(
        _odometer_feed(),
        push_feed(STAFF, role="operator", drops=["emp_no", "emp_name", "dept"], first=False),
    ),
)
