"""Which files of the ledger to put together: small ones often, each byte only a few times.

Files of a day fall into levels by size, each eight times the one below; a level with eight files becomes one file of a
level above. So a day that is written every second holds some tens of files, and an entry is rewritten about once a
level. A day that has not changed for an hour becomes as few files as its size allows, sorted for reading.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

#: Files of one level that make it worth putting them together.
FAN = 8
#: Rows of a file that is not touched again, and the most that are put together at once.
FULL_ROWS = 125_000
#: And its bytes, twice what so many calls take: with content, a row may be a hundred times as large.
FULL_BYTES = 20 * 1024 * 1024
#: Of files that are not sorted, which are held in memory whole, so much is put together at once.
HELD_ROWS = FULL_ROWS // 2
HELD_BYTES = FULL_BYTES // 2
_LOWEST_ROWS = 64
#: How long a past day must be quiet before it is put in order for good.
QUIET = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of the newest snapshot; `path` as the log has it.

    `sorted` ones were put together before and have their rows in order, `ordered` ones for good.
    """

    path: str
    day: date
    rows: int
    bytes: int
    written_at: datetime
    ordered: bool = False
    sorted: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Files to put together into one; `finally_` says that the day is closed and the result is sorted and ordered for good."""

    files: tuple[File, ...]
    finally_: bool


def plan(files: Iterable[File], now: datetime) -> list[Group]:
    """The groups worth putting together now, oldest day first; no file is in two."""
    by_day: defaultdict[date, list[File]] = defaultdict(list)
    for file in files:
        by_day[file.day].append(file)
    groups: list[Group] = []
    for day in sorted(by_day):
        found = by_day[day]
        closed = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) < now - QUIET
        if closed and max(file.written_at for file in found) < now - QUIET:
            groups += _closing(found)
        else:
            groups += _levelling(found)
    return groups


def _closing(files: list[File]) -> list[Group]:
    open_files = [file for file in files if not file.ordered]
    # Late arrivals join the smallest ordered file rather than lie beside it for ever; and files that were not sorted become
    # ordered ones of half the size, as that is what memory bears of them, which then join each other.
    small = [file for file in files if file.ordered and file.rows <= FULL_ROWS // 2]
    return [
        Group(tuple(portion), True) for portion in _portions([*open_files, *small]) if len(portion) > 1 or not portion[0].ordered
    ]


def _levelling(files: list[File]) -> list[Group]:
    levels: defaultdict[int, list[File]] = defaultdict(list)
    for file in files:
        if file.rows < FULL_ROWS:
            levels[_level(file.rows)].append(file)
    together: list[File] = []
    below: list[File] = []
    for level in range(max(levels, default=-1) + 1):
        below += levels[level]
        # What is put together below may itself fill this level, like a carry.
        carried = bool(together) and _level(sum(file.rows for file in together)) == level
        if len(levels[level]) + carried >= FAN:
            together = list(below)
    return [Group(tuple(portion), False) for portion in _portions(together) if len(portion) > 1]


def _level(rows: int) -> int:
    level, size = 0, _LOWEST_ROWS
    while rows > size:
        level, size = level + 1, size * FAN
    return level


def _portions(files: list[File]) -> list[list[File]]:
    """Split so that no portion is more than a full file, nor holds more than memory bears, unless one file alone does."""
    portions: list[list[File]] = []
    rows = size = held = held_size = 0
    for file in sorted(files, key=lambda file: (file.rows, file.path)):
        whole = not (file.sorted or file.ordered)
        full = rows + file.rows > FULL_ROWS or size + file.bytes > FULL_BYTES
        heavy = whole and (held + file.rows > HELD_ROWS or held_size + file.bytes > HELD_BYTES)
        if not portions or full or heavy:
            portions.append([])
            rows = size = held = held_size = 0
        portions[-1].append(file)
        rows, size = rows + file.rows, size + file.bytes
        held, held_size = held + whole * file.rows, held_size + whole * file.bytes
    return portions
