"""Which network a request comes from, for the brake on guessing and for nothing else. Pure.

A header that says so is worth what the last proxy of the operator's own wrote into it: every proxy adds the address it
heard from at the right end, and what stands further left may be the client's own invention.
"""

import ipaddress

from fastapi import Request

UNKNOWN = "unknown"
IPV6_NETWORK_BITS = 64  # RFC 6177: one site has at least this much, so single addresses cost an attacker nothing


def source_of(request: Request, *, trusted_proxies: int) -> str:
    """Return the network that a request comes from.

    Args:
        trusted_proxies: how many proxies of the operator's own stand in front; 0 believes no header at all.
    """
    peer = request.client.host if request.client else ""
    told = [entry for line in request.headers.getlist("x-forwarded-for") for entry in line.split(",")]
    # Fewer entries than proxies: the request came in past them, and nothing it says is theirs.
    chosen = told[-trusted_proxies] if trusted_proxies and len(told) >= trusted_proxies else peer
    return network_of(chosen)


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, the /64 of an IPv6 address, and one word for what is neither.

    Example:
        >>> network_of(" 192.0.2.7 "), network_of("2001:db8:1:2:3::4"), network_of("::ffff:192.0.2.7"), network_of("x")
        ('192.0.2.7', '2001:db8:1:2::/64', '192.0.2.7', 'unknown')
    """
    try:
        parsed = ipaddress.ip_address(address.strip().partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))
    return str(parsed)
