"""How places, amounts and holds are spelled for the script in Redis, and read back.

An amount is two numbers, high and low, since Lua's are exact to 2^53 only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson

from spanledger.limits.check import Check
from spanledger.limits.counters.counters import Amount, Demand, Key, Part, Place, Posting, Reading

BASE = 10**12
#: All that a check says: by it a hold is priced when it is settled, and placed anew when limits change.
about_text: Callable[[Check], bytes] = msgspec.json.Encoder().encode


def json(value: Any) -> str:
    return orjson.dumps(value).decode()


def units(high: str | int, low: str | int) -> int:
    return int(high) * BASE + int(low)


def place_words(place: Place) -> list[Any]:
    return [place.limit_id, json(place.key), str(place.start), place.end, place.width, place.length]


def part_words(place: Place, size: int, worst: int) -> list[Any]:
    return [*place_words(place), *divmod(size, BASE), *divmod(worst, BASE)]


def parts_text(parts: Sequence[Part]) -> str:
    return json([part_words(*part) for part in parts])


def amount_words(place: Place, at: int, counted: int) -> list[Any]:
    return [*place_words(place), at, *divmod(counted, BASE)]


def demands_text(demands: Sequence[Demand]) -> bytes:
    caps = [(*divmod(d.cap, BASE), *divmod(d.bound, BASE), int(d.refuses)) for d in demands]
    return orjson.dumps([[*part_words(d.place, d.size, d.worst), *cap] for d, cap in zip(demands, caps, strict=True)])


def read_demanded(answer: str) -> list[Reading]:
    """What `hold` found of each demand of a check."""
    found = []
    for numbers in answer.split(";"):
        uh, ul, hh, hl, wh, wl, fits = map(int, numbers.split())
        found.append(Reading(uh * BASE + ul, hh * BASE + hl, wh * BASE + wl, fits == 1))
    return found


def read_readings(answer: Sequence[str]) -> list[Reading]:
    """What `read` found of each place."""
    six = [iter(answer)] * 6
    return [Reading(units(uh, ul), units(hh, hl), units(wh, wl), True) for uh, ul, hh, hl, wh, wl in zip(*six, strict=True)]


def read_slots(found: dict[str, str]) -> list[tuple[int, int]]:
    """(slot, units) of a rolling bucket, oldest first."""
    return sorted((int(name[1:]), units(*value.split(":"))) for name, value in found.items() if name.startswith("s"))


def read_parts(text: str) -> tuple[Part, ...]:
    return tuple(_part(part) for part in orjson.loads(text))


def read_noted(text: str) -> Posting:
    """What was posted to a limit while it was counted."""
    entry_id, limit_id, key, *numbers = text.split("\n")
    start, end, width, length, at, high, low = map(int, numbers)
    place = Place(limit_id, read_key(key), start, end, width, length)
    return Posting(entry_id or None, None, [Amount(place, at, units(high, low))])


def read_key(text: str) -> Key:
    return tuple(orjson.loads(text))


def read_about(text: str) -> Check:
    return Check(**orjson.loads(text))


def _part(part: list[Any]) -> Part:
    limit_id, key, start, end, width, length, size_high, size_low, worst_high, worst_low, *_ = part
    place = Place(limit_id, read_key(key), int(start), end, width, length)
    return Part(place, size_high * BASE + size_low, worst_high * BASE + worst_low)
