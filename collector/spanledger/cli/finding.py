"""What `spanledger doctor` says about one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`says` is what is so; `do` is what to do about it, empty when nothing needs doing."""

    subject: str
    state: Literal["good", "note", "wrong"]
    says: str
    do: str = ""


def size(count: float) -> str:
    """So many bytes, for reading."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
