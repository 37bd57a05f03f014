"""Whether an address leads back to this collector: what it sends there would come in again, and be sent again, for ever."""

import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

Ip = IPv4Address | IPv6Address


def is_itself(host: str, port: int, listening: Collection[str]) -> bool:
    """Whether host and port reach one of the addresses (host:port) on which a collector listens, by whatever name.

    A name that cannot be resolved now is taken to be somebody else's. What leads back through another machine is not seen.
    """
    same_port = [own.rpartition(":")[0].strip("[]") for own in listening if own.rpartition(":")[2] == str(port)]
    if not same_port:  # so that names are looked up only where it matters
        return False
    targets = _addresses(host)
    for own in same_port:
        ours = _addresses(own)
        everywhere = any(one.is_unspecified for one in ours)
        if targets & ours or any(one.is_unspecified or (everywhere and _of_this_machine(one)) for one in targets):
            return True
    return False


def _addresses(host: str) -> set[Ip]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {_plain(str(one[4][0])) for one in found}


def _plain(text: str) -> Ip:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _of_this_machine(address: Ip) -> bool:
    """Only an address of its own can be bound."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trying:
            trying.bind((str(address), 0))
    except OSError:
        return False
    return True
