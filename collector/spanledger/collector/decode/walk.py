"""Where the fields of many protobuf messages stand, found for all messages at once: the first field of each, then the second …

Nothing is copied, so a prompt of a megabyte costs no more than its length. A message that no plain writer would have written
(groups, field number 0, lengths that lead out of it) is told as odd and left to the reader.
"""

from array import array
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any

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
_TOGETHER = 8192
#: After so many fields the few messages that have more are walked one by one, which for few is faster.
_MOST_STEPS = 400


def _by_first_bytes() -> tuple[Ints, Ints]:
    """For the first two bytes of a field, the second being the higher: all its bytes, 0 where they do not say it.

    And, for the first byte, how many stand before its value.
    """
    whole, before = np.zeros((256, 256), dtype=np.int64), np.ones(256, dtype=np.int64)
    for tag in range(8, 128):
        kind = tag & 7
        if kind == _VARINT:
            whole[:128, tag] = 2
        elif kind == _SIZED:
            before[tag] = 2
            whole[:128, tag] = 2 + np.arange(128)
        elif kind in (_FIXED64, _FIXED32):
            whole[:, tag] = 1 + (8 if kind == _FIXED64 else 4)
    return whole.ravel(), before


_WHOLE, _BEFORE = _by_first_bytes()


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
        if len(at) == rows and (self.row[at] == np.arange(rows)).all():
            return self.begin[at], self.end[at], np.ones(rows, dtype=bool)
        begin, end, there = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=bool)
        row = self.row[at]
        begin[row], end[row], there[row] = self.begin[at], self.end[at], True
        return begin, end, there


def walk(data: Bytes, begin: Ints, end: Ints) -> Fields:
    """The fields of the messages `data[begin:end]`, behind the last of which `PADDING` bytes must follow."""
    parts = [
        _walk(data, begin[at : at + _TOGETHER], end[at : at + _TOGETHER], at) for at in range(0, max(len(begin), 1), _TOGETHER)
    ]
    if len(parts) == 1:
        return parts[0]
    return Fields(*(np.concatenate([getattr(part, name) for part in parts]) for name in Fields.__slots__))


def _walk(data: Bytes, begin: Ints, end: Ints, first: int) -> Fields:
    live = np.flatnonzero(begin < end)
    at, stop = begin[live], end[live]
    taken = _Taken([live])
    while len(live) and len(taken.steps) < _MOST_STEPS:
        two = data[at + 1].astype(np.uint16)
        two <<= np.uint16(8)
        two |= data[at]
        whole = _WHOLE.take(two)
        stops = at + whole
        rest = np.flatnonzero(whole == 0)
        if len(rest):
            tag, stands, stops[rest] = _carefully(data, at[rest])
        more = stops < stop
        if not more.all():
            wrong = (stops > stop) | (stops < 0)
            if wrong.any():
                sound = ~wrong
                kept = sound[rest]
                if len(rest):
                    rest, tag, stands = (np.cumsum(sound) - 1)[rest[kept]], tag[kept], stands[kept]
                taken.odd.append(live[wrong])
                live, at, stop, two, stops, more = live[sound], at[sound], stop[sound], two[sound], stops[sound], more[sound]
                taken.left(live)
        if len(rest):
            taken.careful.append((rest + taken.size, tag, stands))
        taken.steps.append((two, at, stops))
        taken.size += len(live)
        at = stops
        if not more.all():
            live, at, stop = live[more], at[more], stop[more]
            taken.left(live)
    rest_of = {row: _one(data, *places) for row, *places in zip(live.tolist(), at.tolist(), stop.tolist(), strict=True)}
    return taken.fields(len(begin), first, rest_of)


@dataclass(slots=True)
class _Taken:
    """What was found step by step: each step has a field of each message that had gone on so far."""

    #: Messages that went on together, and since which step.
    together: list[Ints]
    since: list[int] = made_by(default_factory=lambda: [0])
    #: Of each step the first two bytes of the fields, where they begin, and where they end.
    steps: list[tuple[npt.NDArray[np.uint16], Ints, Ints]] = made_by(default_factory=list)
    #: How many fields there are.
    size: int = 0
    #: Of those that two bytes do not tell which they are, their tags, and where their values begin.
    careful: list[tuple[Ints, npt.NDArray[np.uint16], Ints]] = made_by(default_factory=list)
    odd: list[Ints] = made_by(default_factory=list)

    def left(self, live: Ints) -> None:
        """Only these go on."""
        self.together.append(live)
        self.since.append(len(self.steps))

    def fields(self, rows: int, first: int, rest_of: "dict[int, tuple[array[int], bool]]") -> Fields:
        """All of it in the order of the messages, with the rest of those that were followed one by one."""
        turns = list(zip(self.together, self.since, [*self.since[1:], len(self.steps)], strict=True))
        count = np.zeros(rows, dtype=np.int64)
        for live, since, until in turns:
            count[live] += until - since
        behind = count.copy()
        for one, (found, whole) in rest_of.items():
            count[one] += len(found) // 3
            if not whole:
                self.odd.append(np.array([one]))
        starts = np.cumsum(count) - count
        tags = np.empty(int(count.sum()), dtype=np.uint16)
        begins, ends = np.empty(len(tags), dtype=np.int64), np.empty(len(tags), dtype=np.int64)
        if self.steps:
            tag, begin, end = (np.concatenate(each) for each in zip(*self.steps, strict=True))
            tag &= np.uint16(0xFF)
            begin += _BEFORE.take(tag)
            for at, told, stands in self.careful:
                tag[at], begin[at] = told, stands
            place = np.concatenate([(starts[live] + np.arange(since, until)[:, None]).ravel() for live, since, until in turns])
            tags[place], begins[place], ends[place] = tag, begin, end
        for one, (found, _) in rest_of.items():
            part = slice(starts[one] + behind[one], starts[one] + count[one])
            tags[part], begins[part], ends[part] = np.frombuffer(found, dtype=np.int64).reshape(-1, 3).T
        row = np.repeat(np.arange(first, first + rows), count)
        return Fields(row, tags, begins, ends, np.concatenate(self.odd) + first if self.odd else np.zeros(0, dtype=np.int64))


def _carefully(data: Bytes, at: Ints) -> tuple[npt.NDArray[np.uint16], Ints, Ints]:
    """Tag, begin of the value and its end, of fields whose tag or size takes several bytes; -1 where that cannot be told."""
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


def pieces(data: Bytes, at: Ints, kind: str) -> npt.NDArray[Any]:
    """Values of this NumPy type, which stand at these places of a buffer in which all of each is."""
    size = np.dtype(kind).itemsize
    return np.ndarray(max(len(data) - size + 1, 0), dtype=kind, buffer=data, strides=(1,))[at]


def varints(data: Bytes, at: Ints) -> tuple[npt.NDArray[np.uint64], Ints]:
    """The numbers that begin at these places, and where each ends; one that does not end ends nowhere (-1)."""
    if len(at) and at.max() < len(data) and (short := data[at]).max() < 128:
        return short.astype(np.uint64), at + 1
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
