"""Where the fields of many protobuf messages stand, found for all messages at once: the first field of each, then the second …

Nothing is copied, so a prompt of a megabyte costs no more than its length. A message that no plain writer would have written
(groups, field number 0, lengths that lead out of it) is told as odd and left to the reader.
"""

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

#: So many bytes must follow the last message in its buffer, so that nothing is read beyond it.
PADDING = 512

_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
#: Larger field numbers are none that anybody reads.
_LARGEST_TAG = 0xFFFF
#: Messages whose fields are found together: their arrays, and the bytes that are looked at, stay in the processor's cache.
_TOGETHER = 4096
#: After so many fields the few messages that have more are walked one by one, which for few is faster.
_MOST_STEPS = 400


def _by_tag() -> tuple[Ints, Ints, Bytes, Bytes]:
    """For the first byte of a field: bytes before its value, of a fixed value, a mask for its size, and for what to look at."""
    before, fixed = np.ones(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    sized, look = np.zeros(256, dtype=np.uint8), np.zeros(256, dtype=np.uint8)
    for tag in range(256):
        kind = tag & 7
        fixed[tag] = {_VARINT: 1, _FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        if kind == _SIZED:
            before[tag], sized[tag] = 2, 0xFF
        look[tag] = 0xFF if tag < 8 or tag >= 128 or kind in (3, 4, 6, 7) else 0x80 if kind in (_VARINT, _SIZED) else 0
    return before, fixed, sized, look


_BEFORE, _FIXED, _OF_SIZE, _LOOK = _by_tag()
_ALWAYS = np.where(_LOOK == 0xFF, 0x80, 0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields in the order of their messages: `row` is the message, `tag` number and wire type as sent, the value `begin:end`.

    `odd` are messages that could not be followed to their end; what was found of them stands here too.
    """

    row: Ints
    tag: npt.NDArray[np.uint16]
    begin: Ints
    end: Ints
    odd: Ints

    def where(self, tag: int) -> Ints:
        """Which of the fields have this tag."""
        at: Ints = np.flatnonzero(self.tag == tag)
        return at

    def repeated(self, tag: int) -> Ints:
        """Which messages have a field more than once. Of a message in it, protobuf puts what is said together."""
        row = self.row[self.where(tag)]
        again: Ints = row[1:][row[1:] == row[:-1]]
        return again

    def last(self, tag: int, rows: int) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Begin and end of this field in each of so many messages, and which have it; of several the last counts."""
        at = self.where(tag)
        begin, end, there = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=bool)
        row = self.row[at]
        begin[row], end[row], there[row] = self.begin[at], self.end[at], True
        return begin, end, there


def walk(data: Bytes, begin: Ints, end: Ints) -> Fields:
    """The fields of the messages `data[begin:end]`, behind the last of which `PADDING` bytes must follow."""
    parts = [_walk(data, begin[at : at + _TOGETHER], end[at : at + _TOGETHER], at) for at in range(0, len(begin), _TOGETHER)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Fields(nothing, nothing.astype(np.uint16), nothing, nothing, nothing)
    return Fields(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.tag for part in parts]),
        np.concatenate([part.begin for part in parts]),
        np.concatenate([part.end for part in parts]),
        np.concatenate([part.odd for part in parts]),
    )


def _walk(data: Bytes, begin: Ints, end: Ints, first: int) -> Fields:
    count = np.zeros(len(begin), dtype=np.int64)
    live = np.flatnonzero(begin < end)
    at, stop = begin[live], end[live]
    steps: list[tuple[Ints, npt.NDArray[np.uint16], Ints, Ints]] = []
    odd: list[Ints] = []
    while len(live) and len(steps) < _MOST_STEPS:
        tag, stands, stops = _field(data, at)
        wrong = (stops > stop) | (stops < 0)
        if wrong.any():
            odd.append(live[wrong])
            sound = ~wrong
            live, stop, tag, stands, stops = live[sound], stop[sound], tag[sound], stands[sound], stops[sound]
        count[live] += 1
        steps.append((live, tag, stands, stops))
        at = stops
        more = at < stop
        if not more.all():
            live, at, stop = live[more], at[more], stop[more]
    long = [_one(data, int(one_at), int(one_stop)) for one_at, one_stop in zip(at, stop, strict=True)] if len(live) else []
    places = count.copy()
    for one, (found, whole) in zip(live.tolist(), long, strict=True):
        count[one] += len(found) // 3
        if not whole:
            odd.append(np.array([one]))
    starts = np.cumsum(count) - count
    tags = np.empty(int(count.sum()), dtype=np.uint16)
    begins, ends = np.empty(len(tags), dtype=np.int64), np.empty(len(tags), dtype=np.int64)
    for step, (message, tag, stands, stops) in enumerate(steps):
        place = starts[message] + step
        tags[place], begins[place], ends[place] = tag, stands, stops
    for one, (found, _) in zip(live.tolist(), long, strict=True):
        rest = slice(starts[one] + places[one], starts[one] + count[one])
        tags[rest], begins[rest], ends[rest] = np.frombuffer(found, dtype=np.int64).reshape(-1, 3).T
    row = np.repeat(np.arange(first, first + len(begin)), count)
    return Fields(row, tags, begins, ends, np.concatenate(odd) + first if odd else np.zeros(0, dtype=np.int64))


def _field(data: Bytes, at: Ints) -> tuple[npt.NDArray[np.uint16], Ints, Ints]:
    """Of the field that begins at each place its tag, and where its value begins and ends; -1 where that cannot be told."""
    short = data[at]
    size = data[at + 1]
    begin = at + _BEFORE[short]
    end = begin + _FIXED[short] + (size & _OF_SIZE[short])
    tag = short.astype(np.uint16)
    rest = np.flatnonzero((size & _LOOK[short] & 0x80) | _ALWAYS[short])
    if len(rest):
        tag[rest], begin[rest], end[rest] = _carefully(data, at[rest])
    return tag, begin, end


def _carefully(data: Bytes, at: Ints) -> tuple[npt.NDArray[np.uint16], Ints, Ints]:
    """As `_field`, where tag or size take several bytes or are nothing that can be skipped."""
    number, begin = varints(data, at)
    kind = (number & np.uint64(7)).astype(np.int64)
    good = (begin >= 0) & (number >= 8)
    value, after = varints(data, np.where(good, begin, 0))
    size = np.minimum(value, np.uint64(len(data))).astype(np.int64)
    end = np.select(
        [kind == _VARINT, kind == _FIXED64, kind == _SIZED, kind == _FIXED32],
        [after, begin + 8, np.where(after >= 0, after + size, -1), begin + 4],
        -1,
    )
    begin = np.where(kind == _SIZED, after, begin)
    return np.minimum(number, np.uint64(_LARGEST_TAG)).astype(np.uint16), begin, np.where(good, end, -1)


def _one(data: Bytes, at: int, stop: int) -> "tuple[array[int], bool]":
    """Tag, begin and end of each field of what is left of one message, and whether it could be followed to its end."""
    body = data[at:stop].tobytes()
    shift, end = at, len(body)
    found = array("q")
    at = 0
    try:
        while at < end:
            tag, at = varint(body, at)
            kind = tag & 7
            if kind == _SIZED:
                size, at = varint(body, at)
                stops = at + size
            elif kind == _VARINT:
                _, stops = varint(body, at)
            else:
                stops = at + {_FIXED64: 8, _FIXED32: 4}[kind]
            if tag < 8 or stops > end:
                return found, False
            found.extend((min(tag, _LARGEST_TAG), shift + at, shift + stops))
            at = stops
    except (IndexError, KeyError):
        return found, False
    return found, True


def varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that begins here and where it ends; raises `IndexError` when it does not end."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift >= 7 * _LONGEST_VARINT:
            raise IndexError("a number of more than ten bytes")


def varints(data: Bytes, at: Ints) -> tuple[npt.NDArray[np.uint64], Ints]:
    """The numbers that begin at these places, and where each ends; one that does not end ends nowhere (-1)."""
    value = np.zeros(len(at), dtype=np.uint64)
    end = np.full(len(at), -1, dtype=np.int64)
    live = np.arange(len(at))
    for step in range(_LONGEST_VARINT):
        place = at[live] + step
        inside = place < len(data)
        live, place = live[inside], place[inside]
        byte = data[place]
        value[live] |= (byte & 0x7F).astype(np.uint64) << np.uint64(7 * step)
        done = byte < 128
        end[live[done]] = place[done] + 1
        live = live[~done]
        if not len(live):
            break
    return value, end


def pairs(data: Bytes, begin: Ints, end: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Of KeyValue messages where the key begins and ends and where the value does, and which of them are odd."""
    parts = [_pairs(data, begin[at : at + 8 * _TOGETHER], end[at : at + 8 * _TOGETHER], at)
             for at in range(0, len(begin), 8 * _TOGETHER)]  # fmt: skip
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing, nothing, nothing
    key_begin, key_end, value_begin, value_end, odd = (np.concatenate(part) for part in zip(*parts, strict=True))
    return key_begin, key_end, value_begin, value_end, odd


def _pairs(data: Bytes, begin: Ints, end: Ints, first: int) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    key_begin = begin + 2
    size = data[begin + 1]
    key_end = key_begin + size
    value_begin = key_end + 2
    short = data[key_end + 1]
    value_end = value_begin + short
    named = (data[begin] == 0x0A) & (size < 128) & (data[key_end] == 0x12) & (key_end < end)
    rest = np.flatnonzero(~(named & (short < 128) & (value_end == end)))
    odd = rest[:0]
    if len(rest):
        long = rest[named[rest]]
        number, after = varints(data, key_end[long] + 1)
        value_begin[long] = after
        value_end[long] = after + np.minimum(number, np.uint64(len(data))).astype(np.int64)
        rest = rest[~(named[rest] & (value_end[rest] == end[rest]))]
    if len(rest):
        fields = walk(data, begin[rest], end[rest])
        key_begin[rest], key_end[rest], _ = fields.last(0x0A, len(rest))
        value_begin[rest], value_end[rest], _ = fields.last(0x12, len(rest))
        odd = rest[np.concatenate([fields.odd, fields.repeated(0x12)])]
    return key_begin, key_end, value_begin, value_end, odd + first
