"""Who asks an API that has no keys: a program of this machine, and no web page that somebody looks at on it.

A browser sends what any page asks of 127.0.0.1, and says in `Origin` whose page that was. A page may also turn a name of its
own to 127.0.0.1; then it reads the answers, too, and the name stands in `Host`.
"""

import ipaddress
from urllib.parse import urlsplit

from spanledger.api.problem import Problem

#: Names that nobody on the internet can turn to another address.
_OF_OURS = (".localhost", ".local", ".internal")


def from_here(host: str | None, origin: str | None) -> None:
    """Raises `Problem` 403 for what a page of another site asks. Both are headers, or None."""
    named = _name("//" + host) if host else "localhost"
    if not _is_ours(named):
        raise _of_a_page(f"Host: {host}")
    if origin is not None and (asker := _name(origin)) != named and not _is_loopback(asker):
        raise _of_a_page(f"Origin: {origin}")


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_ours(name: str) -> bool:
    if not name:
        return False
    return name.endswith(_OF_OURS) or "." not in name.removesuffix(".") or _address(name) is not None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _of_a_page(header: str) -> Problem:
    return Problem(
        403,
        f"without a key this API is for programs on this machine, and not for web pages of other sites ({header}); "
        "make a key with `spanledger keys create NAME --role admin`",
        name="forbidden",
    )
