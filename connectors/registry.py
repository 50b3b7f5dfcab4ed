"""The connectors by name, built from a participant's settings. Pure: the connectors' own I/O begins with their use.

The file that a participant is added with names one of these; its settings are checked here, once, when it is added.
"""

from collections.abc import Mapping

from connectors.base import Fetcher, Receiver, Stop
from connectors.config import ConfigError
from connectors.formats import (
    alipay_green,
    baidu_track,
    bill_csv,
    camt053,
    connected_car,
    didi_es,
    espi,
    event_file,
    gbt32960,
    kuaidi100_label,
    mds_trips,
    ocpi_cdr,
    psd2_card,
    recycling,
    szt_card,
    takeaway_order,
    tcec102,
    tcec102_pull,
    wechat_waybill,
    werun,
)
from connectors.kind import Kind, Settings
from connectors.profiles import cursor_pull, file_drop, signed_push

_KINDS = (
    signed_push.KIND,
    cursor_pull.KIND,
    file_drop.KIND,
    tcec102.KIND,
    werun.KIND,
    szt_card.KIND,
    takeaway_order.KIND,
    wechat_waybill.KIND,
    kuaidi100_label.KIND,
    recycling.KIND,
    ocpi_cdr.KIND,
    mds_trips.KIND,
    didi_es.KIND,
    baidu_track.KIND,
    alipay_green.KIND,
    psd2_card.KIND,
    connected_car.KIND,
    espi.KIND,
    tcec102_pull.KIND,
    bill_csv.KIND,
    camt053.KIND,
    event_file.KIND,
    gbt32960.KIND,
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}


def build(name: str, config: Settings, secrets: Settings) -> Receiver | Fetcher:
    """Build a connector.

    Raises:
        ConfigError: the name is unknown, a field of the settings is missing, unknown or wrong (the field is named), or
            an address in them is none that may be called.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigError(f"there is no connector named {name!r}: choose from {', '.join(KINDS)}")
    try:
        return kind.build(config, secrets)
    except Stop as stop:
        raise ConfigError(f"config: the platform's address cannot be used ({stop.reason})") from None


def list_connectors() -> tuple[Kind, ...]:
    return tuple(KINDS.values())
