"""The kinds of values in `otel-config.yaml`: addresses, times, sizes; and what all of its blocks have in common."""

import re
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MIB = 1024 * 1024


class Block(BaseModel):
    """A block of the file: a key that it does not know is an error, not a typo that goes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def address(text: str) -> str:
    """The text, when it is host:port; raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:4317 or [::1]:4317")
    return text


def _given(text: str) -> str:
    # A variable that is not set must not mean a database, or counters, of one's own.
    if not text.strip():
        raise ValueError("is empty: give a URL, or leave the key out")
    return text


def _of_redis(text: str) -> str:
    like = "is not like redis://host:6379/0, rediss://… or unix:///path"
    try:
        url = urlsplit(text)
        url.port  # noqa: B018
    except ValueError:
        raise ValueError(like) from None
    if url.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(like)
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "kib": 1024, "mib": MIB, "gib": 1024 * MIB}


def _seconds(text: Any) -> Any:
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"{text} has no unit: write {text}s, {text}m, {text}h or {text}d")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a time such as 500ms, 30s, 5m, 12h or 400d")
    return float(found[1]) * _UNITS[found[2]]


def _bytes(text: Any) -> Any:
    found = re.fullmatch(r"(\d+)\s*(kib|mib|gib|)", str(text).strip().lower())
    if not found or isinstance(text, bool):
        raise ValueError(f"{text!r} is not a size such as 64MiB or 4GiB")
    return int(found[1]) * _SIZES[found[2]]


Address = Annotated[str, AfterValidator(address)]
Url = Annotated[str, AfterValidator(_given)]
RedisUrl = Annotated[Url, AfterValidator(_of_redis)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
#: A bound of nothing would let nothing through.
Timeout = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Bound = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda found: tuple(found) if isinstance(found, list) else found)]
