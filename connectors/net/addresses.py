"""Which network addresses the hub may call. Pure.

`ipaddress.is_global` is the base, but it calls some addresses global that lead inside: multicast, IPv4 addresses
dressed as IPv6 ones (6to4, NAT64, IPv4-compatible), site-local, and one cloud's metadata service on a public address.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_REFUSED_V4 = tuple(
    IPv4Network(net)
    for net in (
        "192.0.0.0/24",  # IETF protocol assignments; Python before 3.11.10 knows only parts of it
        "192.88.99.0/24",  # 6to4 relay anycast, RFC 7526
        "168.63.129.16/32",  # Azure's host agent and metadata proxy
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")  # all that IANA has given out; excludes 64:ff9b::/96, fec0::/10 and ::/96
_REFUSED_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",  # documentation, RFC 9637
    )
)


def is_callable(address: str, *, allow_loopback: bool) -> bool:
    """Say whether a resolved address may be connected to.

    Args:
        address: text form as the resolver gave it; a scope (`fe80::1%eth0`) is never callable.
        allow_loopback: the origin is marked for simulators on this machine.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return False
        if found.ipv4_mapped is None:
            return (allow_loopback and found.is_loopback) or _is_public_v6(found)
        found = found.ipv4_mapped
    return (allow_loopback and found.is_loopback) or _is_public_v4(found)


def is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_loopback


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in net for net in _REFUSED_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    return (
        address.is_global
        and address in _UNICAST_V6
        and not address.is_multicast
        and not any(address in net for net in _REFUSED_V6)
    )
